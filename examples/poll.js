// kvs from JavaScript: the same functions for a page in a browser and for Node.js 18 or later.
//
//   node poll.js URL KEY           print the value, then each new one, until interrupted
//   node poll.js URL KEY=VALUE     store, with the secret in the environment variable KVS_SECRET
//
// In a page of the same origin as kvs, URL may be a path such as "/kvs/". Pages of other origins need the setting cors,
// as in `kvs serve --cors https://app.example`. Never put a secret into a page that others can read.

const WAIT = 25; // longest wait of a read, in seconds

// Stores all pairs, or none.
async function store(url, secret, pairs) {
  const body = new URLSearchParams(pairs);
  const answer = await fetch(url, { method: "POST", body, headers: { "X-KVS-Auth": secret } });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text.trim());
  return text;
}

// Calls `changed` with the newest value of these keys (null: there is none), and again each time it changes.
async function watch(url, keys, changed, signal) {
  let seen = "none";
  let last;
  while (!signal?.aborted) {
    let pause = 0;
    try {
      const query = new URLSearchParams({ k: keys.join(","), wait: WAIT, seen });
      const answer = await fetch(`${url}?${query}`, { cache: "no-store", signal });
      pause = Number(answer.headers.get("Retry-After") ?? 0);
      let value = last;
      if (answer.status === 200) {
        seen = answer.headers.get("ETag");
        value = await answer.text();
      } else if (answer.status === 404) {
        seen = "none";
        value = null;
      } else if (answer.status !== 304) {
        pause ||= 2;
      }
      if (value !== last) {
        last = value;
        changed(value);
      }
    } catch {
      pause = 2; // kvs cannot be reached: try again
    }
    if (pause > 0) await new Promise((done) => setTimeout(done, pause * 1000));
  }
}

async function main([url, what]) {
  if (!url || !what) throw new Error("say URL KEY or URL KEY=VALUE");
  const at = what.indexOf("=");
  if (at < 0) {
    await watch(url, [what], (value) => console.log(value ?? "(nothing)"));
  } else {
    console.log(await store(url, process.env.KVS_SECRET, { [what.slice(0, at)]: what.slice(at + 1) }));
  }
}

if (typeof process !== "undefined" && process.argv) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
}
