//! Changing keys: what an edit keeps, when it does not overwrite, undo, expiry, numbers, new keys.

use serde_json::json;

use super::line;
use super::visit::Visit;

/// The expiry of the open key, in milliseconds since 1970.
const EXPIRY: &str = "Date.parse([...document.querySelectorAll('#facts time')].at(-1).dateTime)";

#[tokio::test]
async fn an_edit_keeps_type_and_expiry() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    visit.endpoint.run(&["set", "c,d", "{}", "--type", "application/json", "--ttl", "2h"]);
    visit.open_key("c,d").await;
    let before = visit.see(EXPIRY).await.as_f64().expect("a time");

    visit.edit("{\"lux\": ").await;
    visit.click("#edit-form .main").await;
    visit.until("text('details-note').startsWith('This is not JSON, so nothing was stored')").await;
    visit.see("$('edit-text').value = '{\"lux\": 300}'").await;
    visit.click("#edit-form .main").await;
    visit.until("text('details-note') === 'Saved.' && value('c,d') === '{\"lux\": 300}'").await;
    assert_eq!(visit.see("text('facts').includes('application/json')").await, json!(true));
    let moved = visit.see(EXPIRY).await.as_f64().expect("a time") - before;
    assert!((0.0..1000.0).contains(&moved), "a query has whole seconds: {moved}");
    visit.end().await;
}

#[tokio::test]
async fn a_value_that_others_changed_is_not_overwritten() {
    let visit = Visit::new(&line("door", "shut", 60)).await;
    visit.open_list().await;
    visit.open_key("door").await;
    visit.edit("mine").await;
    visit.endpoint.store("door", "theirs").await;
    visit.until("$('conflict').checkVisibility() && text('conflict-value') === 'theirs'").await;
    assert_eq!(visit.see("$('edit-text').value").await, json!("mine"));
    visit.click("#take").await;
    visit.until("shown() === 'theirs' && !$('edit-form').checkVisibility()").await;

    visit.edit("mine").await;
    visit.endpoint.store("door", "theirs again").await;
    visit.until("$('conflict').checkVisibility()").await;
    visit.click("#replace").await;
    visit.until("text('details-note') === 'Saved.' && shown() === 'mine' && value('door') === 'mine'").await;

    // The ETag decides, not the events: a hidden page gets none, and the server answers 412.
    visit.see("Object.defineProperty(document, 'hidden', {value: true, configurable: true})").await;
    visit.see("document.dispatchEvent(new Event('visibilitychange'))").await;
    visit.edit("mine again").await;
    visit.endpoint.store("door", "unseen").await;
    visit.click("#edit-form .main").await;
    visit.until("$('conflict').checkVisibility() && text('conflict-value') === 'unseen'").await;

    // A deletion by others is a conflict too.
    visit.endpoint.run(&["delete", "door"]);
    visit.click("#edit-form .main").await;
    visit
        .until("text('conflict-text').includes('has deleted this key') && text('replace') === 'Store mine again'")
        .await;
    visit.click("#replace").await;
    visit.until("text('details-note') === 'Saved.' && shown() === 'mine again'").await;
    visit.end().await;
}

#[tokio::test]
async fn a_deletion_can_be_undone() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    visit.endpoint.run(&["set", "rooms/hall", "19", "--type", "text/x-number", "--ttl", "2h"]);
    visit.open_row("rooms/").await;
    visit.open_key("rooms/hall").await;
    visit.click("#delete").await;
    visit.until("text('toast-text') === 'Deleted “rooms/hall”.' && !row('rooms/hall')").await;
    assert_eq!(visit.see("document.activeElement.id").await, json!("undo"));
    visit.click("#undo").await;
    visit.until("text('toast-text') === 'Restored “rooms/hall”.' && value('rooms/hall') === '19'").await;
    visit.open_key("rooms/hall").await;
    visit.until("text('facts').includes('text/x-number') && /in [12] hours?/.test(text('facts'))").await;

    // It does not overwrite what others have stored in the meantime.
    visit.click("#delete").await;
    visit.until("text('toast-text') === 'Deleted “rooms/hall”.'").await;
    visit.endpoint.store("rooms/hall", "new").await;
    visit.click("#undo").await;
    visit.until("text('toast-text').includes('exists again')").await;
    visit.end().await;
}

#[tokio::test]
async fn the_expiry_is_set_and_removed() {
    let visit = Visit::new(&line("door", "open", 60)).await;
    visit.open_list().await;
    visit.open_key("door").await;
    visit.see("$('expiry').open = true").await;
    visit.fill("ttl", "90").await;
    visit.see("$('ttl-unit').value = 'minutes'").await;
    visit.click("#ttl-form .main").await;
    visit.until("text('details-note') === 'The expiry is set.' && /in [12] hours?/.test(text('facts'))").await;
    visit.click("#persist").await;
    visit.until("text('details-note') === 'The key never expires.' && text('facts').endsWith('never')").await;
    visit.end().await;
}

#[tokio::test]
async fn a_number_is_counted_up_and_down() {
    let visit = Visit::new(&(line("visits", "41", 60) + &line("text", "four", 60))).await;
    visit.open_list().await;
    visit.open_key("text").await;
    assert_eq!(visit.see("$('plus').checkVisibility()").await, json!(false));
    visit.open_key("visits").await;
    visit.click("#plus").await;
    visit.until("shown() === '42' && value('visits') === '42' && text('details-note') === 'Saved.'").await;
    visit.click("#minus").await;
    visit.until("shown() === '41' && value('visits') === '41'").await;
    visit.end().await;
}

#[tokio::test]
async fn a_new_key_is_stored_only_if_it_is_new() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    visit.until("text('note').includes('is empty')").await;
    visit.click("#new-open").await;
    visit.fill("new-key", "rooms/hall?&").await;
    // chromedriver types no characters beyond the basic plane.
    let value = "two\nlines & 100 % + é 🙂";
    visit.see(&format!("$('new-value').value = {}", json!(value))).await;
    visit.fill("new-ttl", "2").await;
    visit.click("#new .main").await;
    visit.until("text('new-result') === 'Stored “rooms/hall?&”.' && row('rooms/hall?&')").await;
    visit.open_key("rooms/hall?&").await;
    assert_eq!(visit.see("shown()").await, json!(value));
    visit.until("/in [12] hours?/.test(text('facts'))").await;

    visit.fill("new-key", "rooms/hall?&").await;
    visit.click("#new .main").await;
    visit.until("text('new-result').includes('exists already')").await;
    assert_eq!(visit.see("shown()").await, json!(value));
    visit.end().await;
}
