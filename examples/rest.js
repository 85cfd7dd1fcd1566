// kvs over REST from JavaScript: the same class for a page in a browser and for Node.js 18 or later.
//
//   node rest.js URL get KEY                   print the value
//   node rest.js URL put KEY VALUE [SECONDS]   store it; with SECONDS it expires after this time
//   node rest.js URL delete KEY
//   node rest.js URL incr KEY [BY]             count, and print the new number
//   node rest.js URL add KEY BY                the same by reading and writing, which works for any change of a value
//   node rest.js URL many KEY...               print the keys that exist, as JSON
//   node rest.js URL move FROM TO AMOUNT       subtract from one number and add to another: both, or neither
//   node rest.js URL watch KEY                 print the value, then each new one, until interrupted
//
// The secret is in the environment variable KVS_SECRET. In a page of the same origin as kvs, URL may be a path such as
// "/kvs/"; pages of other origins need the setting cors. Never put a secret into a page that others can read.

const WAIT = 25; // longest wait of a read, in seconds

// The keys of one bucket.
class Bucket {
  constructor(url, secret, bucket = "default") {
    Object.assign(this, { url, secret, bucket });
  }

  // Returns the response if it is a success or has one of the other statuses; else throws.
  async ask(method, path, { body, headers = {}, others = [], signal } = {}) {
    if (method !== "GET") headers["X-KVS-Auth"] = this.secret;
    const answer = await fetch(this.url + path, { method, body, headers, signal, cache: "no-store" });
    if (!answer.ok && !others.includes(answer.status)) {
      throw new Error(`${answer.status} ${(await answer.text()).trim()}`);
    }
    return answer;
  }

  // `?key=` accepts every key, also one with two slashes in a row.
  entry(key, query = {}) {
    return `kv/${this.bucket}?${new URLSearchParams({ key, ...query })}`;
  }

  // Returns the value and its ETag; nulls if there is no such key.
  async get(key) {
    const answer = await this.ask("GET", this.entry(key), { others: [404] });
    if (answer.status === 404) return { value: null, tag: null };
    return { value: await answer.text(), tag: answer.headers.get("ETag") };
  }

  // Stores a value. With `seconds` it expires after this time.
  async put(key, value, seconds) {
    const query = seconds === undefined ? {} : { ttl: seconds };
    await this.ask("PUT", this.entry(key, query), { body: value });
  }

  async delete(key) {
    await this.ask("DELETE", this.entry(key));
  }

  async increment(key, by = 1) {
    const answer = await this.ask("POST", this.entry(key, { op: "incr", by }));
    return Number(await answer.text());
  }

  // Stores change(value) if nobody else has written since the value was read; else tries again.
  async update(key, change) {
    for (;;) {
      const { value, tag } = await this.get(key);
      const headers = tag === null ? { "If-None-Match": "*" } : { "If-Match": tag };
      const body = change(value);
      const answer = await this.ask("PUT", this.entry(key), { body, headers, others: [412] });
      if (answer.status !== 412) return body;
    }
  }

  // Returns the keys that exist, with their values.
  async getMany(keys) {
    return (await this.json("POST", "multi/", keys)).json();
  }

  // Stores all pairs.
  async putMany(pairs) {
    const rows = Object.entries(pairs).map(([key, data]) => ({ key, data }));
    await this.json("PUT", "multi/", rows);
  }

  // Subtracts from one number and adds to another: both, or neither.
  async move(from, to, amount) {
    for (;;) {
      const { value, tag } = await this.get(from);
      if (Number(value) < amount) throw new Error(`there is not enough in ${from}`);
      // The check makes sure that the amount is still there.
      const checks = [{ key: from, revision: tag }];
      const ops = [
        { op: "incr", key: from, by: -amount },
        { op: "incr", key: to, by: amount },
      ];
      const answer = await this.json("POST", "txn/", { checks, ops }, [409]);
      if (answer.status !== 409) return;
    }
  }

  json(method, path, body, others) {
    const headers = { "Content-Type": "application/json" };
    return this.ask(method, path + this.bucket, { body: JSON.stringify(body), headers, others });
  }

  // Calls `changed` with the value (null: there is no such key), and again each time it changes.
  async watch(key, changed, signal) {
    let tag = null;
    let last;
    while (!signal?.aborted) {
      let pause = 0;
      try {
        const headers = { Prefer: `wait=${WAIT}`, ...(tag === null ? {} : { "If-None-Match": tag }) };
        const query = tag === null ? { seen: "none" } : {};
        const answer = await this.ask("GET", this.entry(key, query), { headers, others: [304, 404], signal });
        pause = Number(answer.headers.get("Retry-After") ?? 0);
        let value = last;
        if (answer.status === 200) {
          tag = answer.headers.get("ETag");
          value = await answer.text();
        } else if (answer.status === 404) {
          tag = value = null;
        }
        if (value !== last) {
          last = value;
          changed(value);
        }
      } catch {
        pause = 2; // kvs restarts, or cannot be reached: try again
      }
      if (pause > 0) await new Promise((done) => setTimeout(done, pause * 1000));
    }
  }
}

async function main([url, command, key, ...rest]) {
  const bucket = new Bucket(url, process.env.KVS_SECRET, process.env.KVS_BUCKET);
  const print = (value) => console.log(value);
  const commands = {
    async get() {
      const { value } = await bucket.get(key);
      if (value === null) throw new Error("no such key");
      print(value);
    },
    put: () => bucket.put(key, ...rest),
    delete: () => bucket.delete(key),
    incr: async () => print(await bucket.increment(key, ...rest)),
    add: async () => print(await bucket.update(key, (value) => String(Number(value) + Number(rest[0])))),
    many: async () => print(JSON.stringify(await bucket.getMany([key, ...rest]))),
    move: () => bucket.move(key, rest[0], Number(rest[1])),
    watch: () => bucket.watch(key, (value) => print(value ?? "(nothing)")),
  };
  if (key === undefined || !(command in commands)) throw new Error(`say URL COMMAND KEY: ${Object.keys(commands)}`);
  await commands[command]();
}

if (typeof process !== "undefined" && process.argv) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
}
