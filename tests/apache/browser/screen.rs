//! The page on a phone, in dark mode, with the keyboard alone, and checked by axe.

use fantoccini::key::Key;
use serde_json::json;

use super::endpoint::SECRET;
use super::visit::Visit;
use super::{HOSTILE_VALUE, line};
use crate::python;

/// What has the focus.
const FOCUS: &str = "(document.activeElement.id || document.activeElement.textContent)";

#[tokio::test]
async fn the_page_fits_a_phone_and_has_a_dark_mode() {
    let lines = line(&"k".repeat(300), &"v".repeat(3000), 60) + &line("kitchen", "21.5", 60);
    let visit = Visit::new(&lines).await;
    visit.endpoint.put("default", "a/b/c/d/e", "application/json", r#"{"a":{"b":{"c":{"d":"text"}}}}"#).await;
    for width in [390, 320] {
        visit.browser.screen(width, 740).await;
        visit.load().await;
        if width == 390 {
            visit.open_list().await;
        }
        for folder in ["a/", "a/b/", "a/b/c/", "a/b/c/d/"] {
            visit.open_row(folder).await;
        }
        for key in ["a/b/c/d/e", &"k".repeat(300), "kitchen"] {
            visit.open_key(key).await;
            assert_eq!(visit.see("innerWidth").await, json!(width));
            assert_eq!(visit.see("document.documentElement.scrollWidth <= innerWidth").await, json!(true), "{key}");
        }
        // The details are below the row, and the row stays where it is on the screen.
        assert_eq!(visit.see("row('kitchen').lastElementChild.id").await, json!("details"));
        visit.open_key("a/b/c/d/e").await;
        visit.see("row('kitchen').scrollIntoView(), window.place = row('kitchen').getBoundingClientRect().top").await;
        visit.open_key("kitchen").await;
        assert_eq!(visit.see("Math.abs(row('kitchen').getBoundingClientRect().top - place) < 2").await, json!(true));
        let small = "[...document.querySelectorAll('button, input, select')] \
                     .filter(control => control.checkVisibility() \
                     && control.type !== 'checkbox' && control.getBoundingClientRect().height < 36) \
                     .map(control => control.outerHTML)";
        assert_eq!(visit.see(small).await, json!([]));
    }
    let ground = "getComputedStyle(document.body).backgroundColor";
    visit.browser.media("prefers-color-scheme", "light").await;
    let light = visit.see(ground).await;
    visit.browser.media("prefers-color-scheme", "dark").await;
    assert_ne!(visit.see(ground).await, light);
    visit.end().await;
}

#[tokio::test]
async fn the_page_works_with_the_keyboard_alone() {
    let visit = Visit::new(&(line("kitchen/temp", "21.5", 60) + &line("zone", "1", 60))).await;
    visit.press(Key::Tab).await;
    assert_eq!(visit.see(FOCUS).await, json!("secret"));
    let outline = visit.see("getComputedStyle(document.activeElement).outlineStyle").await;
    assert_eq!(outline, json!("solid"), "the focus is visible");
    type_text(&visit, &format!("{SECRET}\u{e007}")).await;
    visit.until("document.activeElement.id === 'search' && lines().length === 2").await;
    for stop in ["view", "sort", "kitchen/"] {
        visit.press(Key::Tab).await;
        assert_eq!(visit.see(FOCUS).await, json!(stop));
    }

    visit.press(Key::Right).await;
    visit.until("row('kitchen/temp')").await;
    visit.press(Key::Down).await;
    assert_eq!(visit.see(FOCUS).await, json!("temp"));
    visit.press(Key::Enter).await;
    visit.until("document.activeElement.id === 'details' && $('edit').checkVisibility()").await;
    for stop in ["close", "Value", "edit"] {
        visit.press(Key::Tab).await;
        let name = "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.id)";
        assert_eq!(visit.see(name).await, json!(stop));
    }
    visit.press(Key::Enter).await;
    visit.until("document.activeElement.id === 'edit-text'").await;
    type_text(&visit, "0").await;
    visit.press(Key::Tab).await;
    visit.press(Key::Enter).await;
    visit.until("value('kitchen/temp') === '21.50' && text('details-note') === 'Saved.'").await;
    visit.press(Key::Escape).await;
    visit.until("!$('details').checkVisibility()").await;
    assert_eq!(visit.see(FOCUS).await, json!("temp"));
    visit.press(Key::Left).await;
    visit.press(Key::Left).await;
    visit.until("keys().join() === 'kitchen/,zone'").await;
    // Every field has a name for screen readers.
    let unnamed = "[...document.querySelectorAll('input, textarea, select')] \
                   .filter(field => !field.labels.length && !field.ariaLabel).map(field => field.id)";
    assert_eq!(visit.see(unnamed).await, json!([]));
    visit.end().await;
}

async fn type_text(visit: &Visit, text: &str) {
    visit.browser.client.active_element().await.expect("a field has the focus").send_keys(text).await.expect(text);
}

#[tokio::test]
async fn axe_finds_nothing() {
    let visit = Visit::new("").await;
    for scheme in ["light", "dark"] {
        visit.browser.media("prefers-color-scheme", scheme).await;
        check_with_axe(&visit, &format!("the start, {scheme}")).await;
    }
    visit.open_list().await;
    visit.until("text('note').includes('is empty')").await;
    check_with_axe(&visit, "an empty list").await;

    for (key, value) in [("rooms/hall", "19"), ("rooms/attic", "12"), ("markup", HOSTILE_VALUE), ("مفتاح", "قيمة")]
    {
        visit.endpoint.store(key, value).await;
    }
    visit.endpoint.put("default", "light", "application/json", r#"{"lux": 300, "temp": [21.50]}"#).await;
    for value in ["18", "21", "19"] {
        visit.endpoint.run(&["append", "rooms/hall", value]);
    }
    visit.open_row("rooms/").await;
    visit.until("lines().length === 6").await;
    for scheme in ["light", "dark"] {
        visit.browser.media("prefers-color-scheme", scheme).await;
        visit.open_key("rooms/hall").await;
        visit.until("document.querySelector('#chart svg')").await;
        check_with_axe(&visit, &format!("a chart, {scheme}")).await;
        visit.open_key("light").await;
        check_with_axe(&visit, &format!("JSON, {scheme}")).await;
        visit.edit("{}").await;
        visit.endpoint.put("default", "light", "application/json", &format!("{{\"for\": \"{scheme}\"}}")).await;
        visit.until("$('conflict').checkVisibility()").await;
        check_with_axe(&visit, &format!("a conflict, {scheme}")).await;
        visit.click("#take").await;
        visit.see("$('new').hidden && $('new-open').click()").await;
        check_with_axe(&visit, &format!("a new key, {scheme}")).await;
    }
    visit.end().await;
}

/// Runs axe in the page, and fails if it finds anything.
async fn check_with_axe(visit: &Visit, state: &str) {
    // What has just changed fades, so its colours are not those that stay.
    visit.until("!document.querySelector('.fresh')").await;
    visit.browser.client.execute(&python::axe(), vec![]).await.expect("axe is loaded");
    let found = visit
        .see(
            "axe.run(document).then(found => found.violations.map(rule => \
             `${rule.id}: ${rule.nodes.map(node => node.html).join('; ')}`))",
        )
        .await;
    assert_eq!(found, json!([]), "{state}");
}
