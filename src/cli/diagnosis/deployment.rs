//! Checks of a site by its address, as its clients see it. Nothing is stored.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use super::{Diagnosis, Finding, note_if, problem_if};
use crate::https::{ClientSettings, HttpClient, KVS_USER_AGENT, LazyClient};
use crate::model::{Clock as _, Error, ErrorKind, SystemClock, Time};
use crate::remote::RemoteAddress;

const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_BODY_BYTES: usize = 1 << 20;
/// More than Apache's default limits of a body under `mod_fcgid`.
const LONG_BODY_BYTES: usize = 200_000;
/// How far a clock may be wrong.
const MAX_CLOCK_ERROR: Duration = Duration::from_secs(60);
/// An entity tag that no entry has, so that a write with it is never done.
const NO_ENTRY: &str = "\"kvs-doctor\"";
/// Not a secret of anybody. The server counts it as one wrong guess.
const WRONG_SECRET: &str = "kvs-doctor";

/// Files that must not be sent to anybody.
const PRIVATE: [&str; 7] =
    ["auth.txt", "config.yaml", ".htaccess", "data/default.yaml", "data/default.lock", "kvs.fcgi.bak", "auth.txt.bak"];

/// A site.
pub(crate) struct Site {
    client: LazyClient,
    base: String,
    is_exposed: bool,
    secret: Option<String>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Whether kvs has answered, and not the web server.
    fn is_of_kvs(&self) -> bool {
        self.header("x-content-type-options") == "nosniff" && !self.text().contains("<html")
    }

    /// Whether kvs has seen a secret.
    fn has_secret(&self) -> bool {
        !(self.status == StatusCode::UNAUTHORIZED && self.text().starts_with("a secret is needed"))
    }
}

/// A request to send.
#[derive(Clone, Copy)]
struct Probe<'a> {
    method: &'a str,
    /// Relative to the address of the site.
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
}

const GET: Probe<'_> = Probe { method: "GET", path: "", headers: &[], body: b"" };

impl Site {
    /// The site at an address.
    pub(crate) fn new(address: &RemoteAddress, secret: Option<String>) -> Self {
        let base = address.to_string();
        let settings = ClientSettings {
            needs_https: address.is_https(),
            root_certificates: None,
            connect_timeout: TIMEOUT,
            idle_timeout: Duration::from_millis(1),
            max_idle_connections: 0,
        };
        Self { client: LazyClient::new(settings), base, is_exposed: address.is_exposed(), secret }
    }

    async fn send(&self, probe: Probe<'_>) -> Result<Answer, String> {
        let client: &HttpClient = self.client.get().await?;
        let mut request = Request::builder().method(probe.method).uri(format!("{}{}", self.base, probe.path));
        for (name, value) in [("user-agent", KVS_USER_AGENT)].iter().chain(probe.headers) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(probe.body.to_vec())).map_err(|e| e.to_string())?;
        let answered = async {
            let response = client
                .request(request)
                .await
                .map_err(|e| Error::new(ErrorKind::Unavailable, "the request failed").with_source(e).to_string())?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|e| e.to_string())?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let late = |_| Err(format!("no response within {TIMEOUT:?}"));
        tokio::time::timeout(TIMEOUT, answered).await.unwrap_or_else(late)
    }

    /// Checks everything. If kvs does not answer at all, the rest is left out.
    pub(crate) async fn check(&self, diagnosis: &mut Diagnosis) {
        let first = match self.send(Probe { path: "livez", ..GET }).await {
            Ok(answer) => answer,
            Err(error) => {
                let text = format!(
                    "{} does not respond: {error}; is the address right, and the web server running?",
                    self.base
                );
                return diagnosis.check(Some(Finding::Problem(text)));
            }
        };
        let found = self.unreachable(&first);
        let is_reachable = found.is_none();
        diagnosis.check(found);
        diagnosis.check(self.exposed());
        for name in PRIVATE {
            diagnosis.check(self.private_file(name).await);
        }
        if !is_reachable {
            return;
        }
        diagnosis.check(clock(&first));
        for check in [self.query().await, self.openapi().await, self.method().await, self.authorization().await] {
            diagnosis.check(check);
        }
        for check in [self.long_body().await, self.status().await] {
            diagnosis.check(check);
        }
    }

    /// Why the first request did not reach kvs, if it did not.
    fn unreachable(&self, answer: &Answer) -> Option<Finding> {
        if answer.is_of_kvs() && answer.text() == "ok" {
            return None;
        }
        let what = format!("{}livez gets {}", self.base, answer.status);
        let why = match answer.status.as_u16() {
            500 => {
                "the web server cannot run the program: its error log says why. The usual reasons are a line in .htaccess \
                 that the host does not allow, kvs.fcgi without mode 755, or a program for another system"
            }
            503 => {
                "the program does not start or all of its processes are busy: the error log of the web server says why"
            }
            403 => "the web server refuses it: kvs.fcgi needs mode 755, and .htaccess `Options +ExecCGI`",
            404 => {
                "the path does not reach kvs: is .htaccess uploaded (it is a hidden file), and does the host allow it \
                 (AllowOverride FileInfo, mod_rewrite)?"
            }
            200 => {
                "something else answers: Apache may send the program as a file, or another page (missing handler for \
                 kvs.fcgi, or the rules of another .htaccess)"
            }
            301 | 302 | 307 | 308 => "the server sends clients to another address; use that one",
            _ => "kvs does not answer; the error log of the web server says why",
        };
        Some(Finding::Problem(format!("{what}: {why}")))
    }

    fn exposed(&self) -> Option<Finding> {
        note_if(self.is_exposed, || {
            format!("{} is not encrypted: everybody on the way can read secrets and values; use https", self.base)
        })
    }

    async fn private_file(&self, name: &str) -> Option<Finding> {
        let answer = self.send(Probe { path: name, ..GET }).await.ok()?;
        problem_if(answer.status == StatusCode::OK && !answer.is_of_kvs(), || {
            format!(
                "everybody can download {}{name}: upload .htaccess, and do not remove `Require all denied` and the rules \
                 from it (AllowOverride AuthConfig FileInfo). If it was auth.txt, make new secrets",
                self.base
            )
        })
    }

    async fn query(&self) -> Option<Finding> {
        let path = "?k=kvs-doctor-none&default=a%2Bb";
        let answer = self.send(Probe { path, ..GET }).await;
        // If kvs cannot read the data, `/status` says so.
        let is_refused = |answer: &Answer| answer.is_of_kvs() && answer.status != StatusCode::OK;
        let is_right = answer.as_ref().is_ok_and(|answer| answer.text() == "a+b" || is_refused(answer));
        problem_if(!is_right, || {
            let found = describe(&answer);
            format!("{}{path} should get `a+b`, but gets {found}: the web server changes or drops the query", self.base)
        })
    }

    /// A file with an entity tag: compression and Content-Length.
    async fn openapi(&self) -> Option<Finding> {
        let probe = Probe { path: "openapi.json", headers: &[("accept-encoding", "gzip, br")], ..GET };
        let answer = match self.send(probe).await {
            Ok(answer) if answer.status == StatusCode::OK => answer,
            other => {
                let found = describe(&other);
                let text = format!(
                    "{}openapi.json gets {found}: paths below the address do not reach kvs (RewriteRule)",
                    self.base
                );
                return Some(Finding::Problem(text));
            }
        };
        let tag = answer.header("etag");
        if !answer.header("content-encoding").is_empty() || tag.contains("-gzip") || tag.contains("-br") {
            let text = "the web server compresses responses and changes the ETag, so conditional requests fail: keep \
                        `SetEnvIf Request_URI \"^\" no-gzip=1 no-brotli=1` in .htaccess";
            return Some(Finding::Problem(text.to_owned()));
        }
        let again = self.send(Probe { path: "openapi.json", headers: &[("if-none-match", tag)], ..GET }).await;
        if !tag.is_empty() && !again.as_ref().is_ok_and(|answer| answer.status == StatusCode::NOT_MODIFIED) {
            let text = format!(
                "a request with If-None-Match gets {} instead of 304: a proxy drops the header",
                describe(&again)
            );
            return Some(Finding::Problem(text));
        }
        note_if(answer.header("content-length").is_empty(), || {
            "the web server drops Content-Length; with Apache 2.4.59 or later, `ap_trust_cgilike_cl=1` keeps it"
                .to_owned()
        })
    }

    /// A write that is never done.
    async fn method(&self) -> Option<Finding> {
        let answer = self.send(Self::write(&[("if-match", NO_ENTRY)])).await;
        let is_right = answer.as_ref().is_ok_and(Answer::is_of_kvs);
        problem_if(!is_right, || {
            format!(
                "PUT gets {}, not from kvs: the host blocks PUT and DELETE (mod_security); send forms with POST, or ask the \
                 host to allow them",
                describe(&answer)
            )
        })
    }

    fn write<'a>(headers: &'a [(&'a str, &'a str)]) -> Probe<'a> {
        Probe { method: "PUT", path: "kv/default/kvs-doctor", headers, body: b"x" }
    }

    async fn authorization(&self) -> Option<Finding> {
        let secret = self.secret.as_deref().unwrap_or(WRONG_SECRET);
        let bearer = format!("Bearer {secret}");
        let answer = self.send(Self::write(&[("if-match", NO_ENTRY), ("authorization", &bearer)])).await.ok()?;
        if !answer.is_of_kvs() {
            return None;
        }
        if !answer.has_secret() {
            let text = "the header Authorization does not reach kvs: keep `SetEnvIf Authorization \"^(.+)$\" \
                        HTTP_AUTHORIZATION=$1` in .htaccess (or `CGIPassAuth On`), or send secrets as X-KVS-Auth";
            return Some(Finding::Problem(text.to_owned()));
        }
        let is_refused = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        problem_if(self.secret.is_some() && is_refused, || {
            format!("the secret in KVS_SECRET is refused: {}", answer.text().trim())
        })
    }

    /// A body that is longer than `mod_fcgid` allows by default.
    async fn long_body(&self) -> Option<Finding> {
        let body = vec![b'x'; LONG_BODY_BYTES];
        let probe = Probe { body: &body, ..Self::write(&[("if-match", NO_ENTRY)]) };
        let answer = self.send(probe).await.ok()?;
        note_if(!answer.is_of_kvs(), || {
            format!(
                "a body of {LONG_BODY_BYTES} bytes gets {} from the web server; ask the host to raise FcgidMaxRequestLen (131072 \
                 by default) or LimitRequestBody, or keep values smaller",
                answer.status
            )
        })
    }

    async fn status(&self) -> Option<Finding> {
        let answer = self.send(Probe { path: "status", ..GET }).await.ok()?;
        problem_if(answer.is_of_kvs() && answer.status.is_server_error(), || {
            format!("{}status says: {}", self.base, answer.text().trim())
        })
    }
}

fn describe(answer: &Result<Answer, String>) -> String {
    match answer {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("no response ({error})"),
    }
}

fn clock(answer: &Answer) -> Option<Finding> {
    let here = SystemClock.now();
    let server = Time::from_http_date(answer.header("date"), here)?;
    let is_wrong = server > here.plus(MAX_CLOCK_ERROR) || here > server.plus(MAX_CLOCK_ERROR);
    problem_if(is_wrong, || {
        format!("the clock of the server shows {server}, that of this machine {here}; correct one of them (NTP)")
    })
}
