//! The index page in Debian's Chromium, against the real program, while other clients and processes write.
//!
//! Every visit ends with the same check: no policy was violated, no script threw, and no stored script was run.

#![expect(clippy::expect_used, reason = "in tests a panic is the report")]

pub(crate) mod chromium;
mod editing;
mod endpoint;
mod event_source;
mod list;
mod screen;
mod typed_values;
mod visit;

use std::time::Duration;

use kvs::model::{Clock, SystemClock, Time};
use serde_json::json;

use visit::{PATIENCE, Visit};

/// The longest time until the page shows a write of another client.
const SOON: Duration = Duration::from_secs(2);

const HOSTILE_KEY: &str = "<img src=x onerror=window.pwned=1>";
const HOSTILE_VALUE: &str =
    "<script>window.pwned=1</script><img src=x onerror=\"window.pwned=1\">\n</textarea></td>javascript:pwned=1";

/// A line of the data file, written `age` seconds ago.
fn line(key: &str, value: &str, age: i64) -> String {
    let updated = Time::from_secs(SystemClock.now().secs() - age);
    format!("{}: {{value: {}, updated: {updated}}}\n", json!(key), json!(value))
}

#[tokio::test]
async fn a_key_is_looked_up() {
    let lines =
        line("hall/temp", "19", 7300) + &line("kitchen/temp", "21.5", 305) + &line(HOSTILE_KEY, HOSTILE_VALUE, 9);
    let visit = Visit::new(&lines).await;

    visit.look_up("hall/temp").await;
    visit.until("text('look-result').includes('19') && text('look-result').includes('2 hours ago')").await;
    assert_eq!(visit.see("text('look-result').includes('text/plain')").await, json!(true));

    visit.look_up("hall/temp, kitchen/temp, nowhere").await;
    visit.until("text('look-result').includes('21.5') && text('look-result').includes('5 minutes ago')").await;
    assert_eq!(visit.see("document.querySelector('#look-result .key').textContent").await, json!("kitchen/temp"));

    visit.look_up("nowhere").await;
    visit.until("text('look-result').includes('no such key')").await;

    visit.look_up(HOSTILE_KEY).await;
    visit.until("text('look-result').includes('window.pwned=1</script>')").await;
    assert_eq!(visit.see("document.querySelector('#look-result .value').textContent").await, json!(HOSTILE_VALUE));
    assert_eq!(visit.see("document.querySelector('#look-result .key').textContent").await, json!(HOSTILE_KEY));
    assert_eq!(visit.see("document.querySelectorAll('#look-result :is(img, script, a)').length").await, json!(0));

    // The style of the page is allowed too.
    let ground = visit.see("getComputedStyle(document.body).backgroundColor").await;
    assert_ne!(ground, json!("rgba(0, 0, 0, 0)"));
    visit.end().await;
}

#[tokio::test]
async fn the_list_is_first_and_shown_only_with_the_secret() {
    let lines = line("kitchen", "21.5", 305) + &line("long", &"long ".repeat(100), 90_000);
    let visit = Visit::new(&lines).await;
    assert_eq!(visit.see("$('list').checkVisibility() || lines().length > 0").await, json!(false));

    visit.fill("secret", "wrong").await;
    visit.click("#open button").await;
    visit.until("text('open-result') === 'Wrong secret.'").await;
    assert_eq!(visit.see("$('list').checkVisibility() || lines().length > 0").await, json!(false));
    assert_eq!(visit.see("sessionStorage.length").await, json!(0));

    visit.open_list().await;
    visit.until("value('kitchen') === '21.5' && age('kitchen') === '5 minutes ago'").await;
    visit.until("age('long') === '1 day ago' && value('long').length < 250").await;
    assert_eq!(visit.see("document.querySelector('main section:not([hidden])').id").await, json!("list"));
    assert_eq!(visit.see("$('access').checkVisibility()").await, json!(false));
    visit.open_key("long").await;
    assert_eq!(visit.see("shown()").await, json!("long ".repeat(100)));

    // The secret is kept until the tab is closed, or until the person forgets it.
    visit.load().await;
    visit.until("keys().length === 2").await;
    visit.click("#forget").await;
    visit.until("$('access').checkVisibility() && !$('list').checkVisibility() && lines().length === 0").await;
    assert_eq!(visit.see("sessionStorage.length").await, json!(0));
    visit.see("$('keep').click()").await;
    visit.open_list().await;
    assert_eq!(visit.see("sessionStorage.length").await, json!(0));
    visit.end().await;
}

#[tokio::test]
async fn a_client_that_guesses_secrets_sees_how_long_it_must_wait() {
    let visit = Visit::new("").await;
    let mut guesses = 0;
    let throttled = async {
        loop {
            while visit.endpoint.post(&[("guessed", "1"), ("auth", &format!("guess {guesses}"))]).await != 429 {
                guesses += 1;
            }
            visit.fill("secret", "wrong").await;
            visit.click("#open button").await;
            visit.until("/[.]$/.test(text('open-result'))").await;
            if visit.see("/try again in [0-9]+ s/.test(text('open-result'))").await == json!(true) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE * 2, throttled).await.expect("guessing is throttled");
    assert_eq!(visit.see("$('list').checkVisibility()").await, json!(false));
    visit.end().await;
}

#[tokio::test]
async fn a_public_list_is_shown_without_a_secret() {
    let visit = Visit::with(&line("kitchen", "21.5", 60), &["--reads", "listed"]).await;
    visit.until("$('list').checkVisibility() && value('kitchen') === '21.5' && text('state') === 'Live'").await;
    visit.endpoint.store("hall", "19").await;
    assert!(visit.until("value('hall') === '19'").await < SOON);

    // Without a secret nothing can be changed. The form for it is below the list.
    visit.open_key("hall").await;
    let controls = "['edit', 'delete', 'expiry', 'new-open', 'forget'].filter(id => $(id).checkVisibility())";
    assert_eq!(visit.see(controls).await, json!([]));
    assert_eq!(visit.see("$('list').nextElementSibling === $('access')").await, json!(true));
    visit.click("#enter").await;
    visit.open_list().await;
    visit.until("$('new-open').checkVisibility() && $('forget').checkVisibility()").await;
    visit.end().await;
}

#[tokio::test]
async fn stored_markup_is_shown_as_text() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    visit.see("$('view').value = 'flat', $('view').dispatchEvent(new Event('change'))").await;
    for key in [HOSTILE_KEY, "__proto__", "</script><script>window.pwned=1</script>", "\"' onfocus=pwned=1 x=", "a,b"] {
        visit.endpoint.store(key, HOSTILE_VALUE).await;
        visit.open_key(key).await;
        visit.until(&format!("shown() === {}", json!(HOSTILE_VALUE))).await;
        assert_eq!(visit.see("text('details-key')").await, json!(key));
    }
    visit.endpoint.put("default", "svg", "image/svg+xml", "<svg onload='window.pwned=1'/>").await;
    visit.endpoint.put("default", "json", "application/json", &json!({HOSTILE_KEY: HOSTILE_VALUE}).to_string()).await;
    visit.open_key("svg").await;
    visit.until("shown().startsWith('<svg')").await;
    visit.open_key("json").await;
    visit.until(&format!("document.querySelector('.leaf button').textContent.includes({})", json!("<script>"))).await;
    assert_eq!(visit.see("document.querySelectorAll('main :is(img, script, a)').length").await, json!(0));
    visit.end().await;
}
