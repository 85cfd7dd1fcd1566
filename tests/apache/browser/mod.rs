//! The index page in Debian's Chromium, against the real program, while other clients and processes write.
//!
//! Every visit ends with the same check: no policy was violated, no script threw, and no stored script was run.

#![expect(clippy::expect_used, reason = "in tests a panic is the report")]

mod chromium;
mod endpoint;
mod event_source;
mod storing;
mod visit;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use kvs::model::{Clock, SystemClock, Time};
use serde_json::json;

use endpoint::SECRET;
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
async fn a_value_is_stored_only_with_the_secret() {
    let visit = Visit::new("").await;
    let value = "two\nlines & 100 % + é 🙂";

    visit.fill("store-key", "greeting=?&").await;
    // chromedriver types no characters beyond the basic plane.
    visit.see(&format!("$('store-value').value = {}", json!(value))).await;
    visit.fill("store-secret", "wrong").await;
    visit.click("#store button").await;
    visit.until("text('store-result').includes('not the secret')").await;
    visit.look_up("greeting=?&").await;
    visit.until("text('look-result').includes('no such key')").await;

    visit.fill("store-secret", SECRET).await;
    visit.click("#store button").await;
    visit.until("text('store-result') === 'Stored “greeting=?&”.'").await;
    visit.click("#look button").await;
    visit.until("text('look-result').includes('just now')").await;
    assert_eq!(visit.see("document.querySelector('#look-result .value').textContent").await, json!(value));

    visit.fill("store-key", "auth").await;
    visit.click("#store button").await;
    visit.until("text('store-result').includes('cannot store')").await;

    // A client that guesses secrets sees how long it must wait.
    visit.fill("store-key", "guessed").await;
    visit.fill("store-secret", "wrong").await;
    let mut guesses = 0;
    let throttled = async {
        loop {
            while visit.endpoint.post(&[("guessed", "1"), ("auth", &format!("guess {guesses}"))]).await != 429 {
                guesses += 1;
            }
            visit.click("#store button").await;
            visit.until("text('store-result').match(/secret/)").await;
            if visit.see("/Try again in [0-9]+ second/.test(text('store-result'))").await == json!(true) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE * 2, throttled).await.expect("guessing is throttled");
    visit.look_up("guessed").await;
    visit.until("text('look-result').includes('no such key')").await;
    visit.end().await;
}

#[tokio::test]
async fn newly_loaded_keys_are_not_marked_as_changed() {
    let lines: String = (0..230).map(|n| line(&format!("key/{n:03}"), "v", 600 - n)).collect();
    let visit = Visit::new(&lines).await;
    visit.open_list().await;
    visit.until("lines().length === 100").await;
    let marked = "[...new Set([...document.querySelectorAll('#list-rows .fresh')].map(key))]";
    visit.click("#list-more").await;
    visit.until("lines().length === 200").await;
    assert_eq!(visit.see(marked).await, json!([]));
    visit.fill("list-filter", "key/22").await;
    visit.click("#list-prefix").await;
    visit.until("text('list-count').includes('begin with “key/22”')").await;
    assert_eq!(visit.see(marked).await, json!([]));
    visit.fill("list-filter", "key/").await;
    visit.until("lines().length === 100").await;
    assert_eq!(visit.see(marked).await, json!([]));

    visit.endpoint.store("key/000a", "new").await;
    visit.until("keys().includes('key/000a')").await;
    assert_eq!(visit.see(marked).await, json!(["key/000a"]));
    visit.end().await;
}

#[tokio::test]
async fn a_public_list_is_shown_without_a_secret() {
    let visit = Visit::with(&line("kitchen/temp", "21.5", 60), &["--reads", "listed"]).await;
    visit.until("$('list').checkVisibility() && cell('kitchen/temp', 1) === '21.5'").await;
    assert_eq!(visit.see("$('open').checkVisibility() || $('forget').checkVisibility()").await, json!(false));
    visit.endpoint.store("hall/temp", "19").await;
    assert!(visit.until("keys().includes('hall/temp')").await < SOON);

    visit.fill("store-key", "hall/temp").await;
    visit.fill("store-value", "20").await;
    visit.fill("store-secret", SECRET).await;
    visit.click("#store button").await;
    assert!(visit.until("cell('hall/temp', 1) === '20'").await < SOON);
    visit.end().await;
}

#[tokio::test]
async fn the_list_is_shown_only_with_the_secret() {
    let lines = line("kitchen/temp", "21.5", 305) + &line("long", &"long ".repeat(100), 90_000);
    let visit = Visit::new(&lines).await;
    assert_eq!(visit.see("$('list').checkVisibility() || lines().length > 0").await, json!(false));

    visit.fill("open-secret", "wrong").await;
    visit.click("#open button").await;
    visit.until("text('open-result').includes('not the secret')").await;
    assert_eq!(visit.see("$('list').checkVisibility() || lines().length > 0").await, json!(false));
    assert_eq!(visit.see("sessionStorage.length").await, json!(0));

    visit.open_list().await;
    assert_eq!(visit.see("keys()").await, json!(["kitchen/temp", "long"]));
    assert_eq!(
        visit.see("[1, 2, 3].map(n => cell('kitchen/temp', n))").await,
        json!(["21.5", "text/plain", "5 minutes ago"])
    );
    assert_eq!(visit.see("cell('long', 3)").await, json!("1 day ago"));
    assert_eq!(visit.see("!isNaN(Date.parse(row('long').querySelector('time').dateTime))").await, json!(true));
    assert_eq!(visit.see("cell('long', 1).length < 250").await, json!(true));
    visit.click("#list-rows [aria-expanded=false]").await;
    assert_eq!(visit.see("row('long').querySelector('.value').textContent").await, json!("long ".repeat(100)));

    visit.click("#list-rows .key").await;
    visit.until("$('look-keys').value === 'kitchen/temp' && text('look-result').includes('21.5')").await;

    // The secret survives a reload, but not the button `forget`.
    visit.load().await;
    visit.until("keys().length === 2").await;
    visit.click("#forget").await;
    assert_eq!(visit.see("[lines().length, sessionStorage.length, $('store-secret').value]").await, json!([0, 0, ""]));
    visit.load().await;
    assert_eq!(visit.see("$('open').checkVisibility() && !$('list').checkVisibility()").await, json!(true));
    visit.end().await;
}

#[tokio::test]
async fn changes_of_others_appear_without_reloading() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    visit.until("text('list-empty').includes('Nothing is stored yet')").await;
    visit.see("window.stayed = true").await;

    visit.endpoint.store("kitchen/temp", "21.5").await;
    assert!(visit.until("cell('kitchen/temp', 1) === '21.5'").await < SOON);
    assert_eq!(visit.see("row('kitchen/temp').classList.contains('fresh')").await, json!(true));
    visit.endpoint.store("kitchen/temp", "22").await;
    assert!(visit.until("cell('kitchen/temp', 1) === '22'").await < SOON);

    // Another process on the same files.
    visit.endpoint.run(&["set", "short-lived", "x", "--ttl", "4s"]);
    assert!(visit.until("/^in [0-9] seconds?$|^just now$/.test(cell('short-lived', 4))").await < SOON);
    visit.endpoint.run(&["set", "room", "x", "--ttl", "2h"]);
    visit.until("cell('room', 4) === 'in 2 hours'").await;
    let mut picture = vec![OsString::from("set"), "picture".into(), OsString::from_vec(b"\x89PNG\xff".to_vec())];
    picture.extend(["--type".into(), "image/png".into()]);
    visit.endpoint.run(&picture);
    visit.until("cell('picture', 1) === '5 bytes, binary' && cell('picture', 2) === 'image/png'").await;

    visit.endpoint.run(&["delete", "kitchen/temp"]);
    assert!(visit.until("!keys().includes('kitchen/temp')").await < SOON);
    visit.until("!keys().includes('short-lived')").await;
    assert_eq!(visit.see("keys()").await, json!(["picture", "room"]));

    // The ages grow while nothing is written.
    visit.until("/^[5-9] seconds ago$|^[0-9]{2} seconds ago$/.test(cell('room', 3))").await;
    assert_eq!(visit.see("window.stayed").await, json!(true));
    visit.end().await;
}

#[tokio::test]
async fn the_list_survives_a_restart_and_pauses_while_hidden() {
    let mut visit = Visit::new(&line("kitchen/temp", "21.5", 60)).await;
    visit.open_list().await;

    visit.endpoint.stop();
    visit.until("/cannot be reached.*next attempt in/.test(text('list-state'))").await;
    assert_eq!(visit.see("keys()").await, json!(["kitchen/temp"]), "the old list stays");
    visit.endpoint.start_again().await;
    visit.endpoint.store("hall/temp", "19").await;
    visit.until("keys().includes('hall/temp') && text('list-state') === ''").await;

    let set_hidden = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}}) \
             && document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    visit.see(&set_hidden(true)).await;
    visit.endpoint.store("cellar/temp", "12").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(visit.see("keys().includes('cellar/temp')").await, json!(false));
    visit.see(&set_hidden(false)).await;
    assert!(visit.until("keys().includes('cellar/temp')").await < SOON);
    visit.end().await;
}

#[tokio::test]
async fn stored_markup_is_shown_as_text() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    for key in [HOSTILE_KEY, "__proto__", "</script><script>window.pwned=1</script>", "\"' onfocus=pwned=1 x=", "a,b"] {
        visit.endpoint.store(key, HOSTILE_VALUE).await;
        let shown = json!([key, HOSTILE_VALUE]);
        let name = shown[0].to_string();
        visit.until(&format!("row({name})")).await;
        let seen = visit.see(&format!("[key(row({name})), row({name}).querySelector('.value').textContent]")).await;
        assert_eq!(seen, shown);
        // A click looks the key up, whatever its name is.
        visit.see(&format!("row({name}).querySelector('.key').click()")).await;
        visit.until(&format!("document.querySelector('#look-result .key').textContent === {name}")).await;
        assert_eq!(visit.see("document.querySelector('#look-result .value').textContent").await, shown[1]);
    }
    assert_eq!(visit.see("document.querySelectorAll('main :is(img, script, a)').length").await, json!(0));
    visit.end().await;
}

#[tokio::test]
async fn the_list_is_searched_and_paged() {
    let lines: String = (0..230).map(|n| line(&format!("key/{n:03}"), &format!("value {}", n * 7), 60)).collect();
    let visit = Visit::new(&lines).await;
    visit.open_list().await;
    visit.until("lines().length === 100 && text('list-count') === '100 keys, and there are more'").await;

    visit.fill("list-filter", "KEY/00").await;
    visit.until("lines().length === 10").await;
    visit.fill("list-filter", "value 14").await;
    visit.until("keys().includes('key/002') && lines().length < 10").await;

    // The server finds keys that are not loaded.
    visit.fill("list-filter", "key/22").await;
    visit.until("lines().length === 0").await;
    visit.click("#list-prefix").await;
    visit.until("lines().length === 10 && text('list-count').includes('begin with “key/22”')").await;
    visit.endpoint.store("key/22x", "new").await;
    assert!(visit.until("lines().length === 11").await < SOON);
    visit.fill("list-filter", "key/").await;
    visit.until("lines().length === 100").await;

    visit.click("#list-more").await;
    visit.until("lines().length === 200").await;
    visit.click("#list-more").await;
    visit.until("lines().length === 231 && !$('list-more').checkVisibility()").await;
    assert_eq!(visit.see("keys().join() === keys().sort().join()").await, json!(true));
    visit.end().await;
}

#[tokio::test]
async fn the_page_works_with_the_keyboard_alone() {
    use fantoccini::key::Key;
    let visit = Visit::new(&line("kitchen/temp", "21.5", 60)).await;
    let stops = "(document.activeElement.id || document.activeElement.textContent)";

    visit.press(Key::Tab).await;
    assert_eq!(visit.see(stops).await, json!("look-keys"));
    let outline = visit.see("getComputedStyle(document.activeElement).outlineStyle").await;
    assert_eq!(outline, json!("solid"), "the focus is visible");
    visit.browser.client.active_element().await.unwrap().send_keys("kitchen/temp\u{e007}").await.unwrap();
    visit.until("text('look-result').includes('21.5')").await;

    for stop in ["Look up", "store-key", "store-value", "store-secret", "Store", "open-secret"] {
        visit.press(Key::Tab).await;
        assert_eq!(visit.see(stops).await, json!(stop));
    }
    visit.browser.client.active_element().await.unwrap().send_keys(&format!("{SECRET}\u{e007}")).await.unwrap();
    visit.until("document.activeElement.id === 'list-filter'").await;
    for stop in ["forget", "kitchen/temp", "Copy", "Copy", "Copy"] {
        visit.press(Key::Tab).await;
        assert_eq!(visit.see(stops).await, json!(stop));
    }
    // Every field has a name for screen readers.
    let unnamed = "[...document.querySelectorAll('input, textarea')].filter(field => !field.labels.length).length";
    assert_eq!(visit.see(unnamed).await, json!(0));
    visit.end().await;
}

#[tokio::test]
async fn the_page_fits_a_phone_and_has_a_dark_mode() {
    let lines = line(&"k".repeat(300), &"v".repeat(3000), 60) + &line("kitchen/temp", "21.5", 60);
    let visit = Visit::new(&lines).await;
    for width in [360, 320] {
        visit.browser.screen(width, 740).await;
        visit.load().await;
        if visit.see("$('open').checkVisibility()").await == json!(true) {
            visit.open_list().await;
        }
        visit.until("lines().length === 2").await;
        visit.look_up(&"k".repeat(300)).await;
        visit.until("text('look-result').includes('1 minute ago')").await;
        assert_eq!(visit.see("innerWidth").await, json!(width));
        assert_eq!(visit.see("document.documentElement.scrollWidth <= innerWidth").await, json!(true), "{width}");
        let small = "[...document.querySelectorAll('button, input')].filter(control => control.checkVisibility() \
                     && control.getBoundingClientRect().height < 40).map(control => control.outerHTML)";
        assert_eq!(visit.see(small).await, json!([]));
    }
    let ground = "getComputedStyle(document.body).backgroundColor";
    visit.browser.media("prefers-color-scheme", "light").await;
    let light = visit.see(ground).await;
    visit.browser.media("prefers-color-scheme", "dark").await;
    assert_ne!(visit.see(ground).await, light);
    visit.end().await;
}
