//! Storing under an existing key: what the entry keeps, and when the page does not overwrite it.

use serde_json::json;

use super::endpoint::SECRET;
use super::line;
use super::visit::Visit;

#[tokio::test]
async fn storing_again_keeps_type_and_expiry() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    visit.endpoint.run(&["set", "a/b c,d", "{}", "--type", "application/json", "--ttl", "2h"]);
    visit.endpoint.run(&["set", "plain", "old"]);
    visit.until("keys().length === 2").await;
    visit.see("window.end = row('a/b c,d').cells[4].firstChild.dateTime").await;

    visit.fill("store-key", "a/b c,d").await;
    visit.see("$('store-value').value = '{\"lux\": 300}'").await;
    visit.click("#store button").await;
    visit.until("text('store-result') === 'Stored “a/b c,d” as application/json. It still expires in 2 hours.'").await;
    visit.until("cell('a/b c,d', 1) === '{\"lux\": 300}'").await;
    assert_eq!(visit.see("cell('a/b c,d', 2)").await, json!("application/json"));
    let moved = visit.see("Date.parse(row('a/b c,d').cells[4].firstChild.dateTime) - Date.parse(end)").await;
    assert!((0.0..1000.0).contains(&moved.as_f64().unwrap()), "a query has whole seconds: {moved}");

    visit.fill("store-key", "plain").await;
    visit.click("#store button").await;
    visit.until("text('store-result') === 'Stored “plain”.'").await;
    visit
        .until("cell('plain', 1) === '{\"lux\": 300}' && cell('plain', 2) === 'text/plain' && cell('plain', 4) === ''")
        .await;
    visit.end().await;
}

#[tokio::test]
async fn a_value_that_others_changed_is_not_overwritten() {
    let visit = Visit::new(&line("door", "shut", 60)).await;
    visit.fill("store-secret", SECRET).await;
    visit.look_up("door").await;
    visit.until("text('look-result').includes('shut')").await;
    visit.endpoint.store("door", "ajar").await;

    visit.fill("store-key", "door").await;
    visit.fill("store-value", "open").await;
    visit.click("#store button").await;
    visit.until("text('store-result').includes('was changed by somebody else meanwhile; nothing was stored')").await;
    visit.until("text('look-result').includes('ajar')").await;
    visit.click("#store button").await;
    visit.until("text('store-result') === 'Stored “door”.'").await;
    visit.look_up("door").await;
    visit.until("text('look-result').includes('open')").await;

    // A deletion by others is reported too. The page's own writes do not count as changes of others.
    visit.fill("store-value", "wide open").await;
    visit.click("#store button").await;
    visit.until("text('store-result').startsWith('Stored')").await;
    visit.endpoint.run(&["delete", "door"]);
    visit.click("#store button").await;
    visit.until("text('store-result').includes('nothing was stored')").await;
    visit.click("#store button").await;
    visit.until("text('store-result') === 'Stored “door”.'").await;
    visit.end().await;
}
