//! The list of keys: live changes, buckets, folders and search.

use std::time::Duration;

use serde_json::json;

use super::visit::Visit;
use super::{SOON, line};

#[tokio::test]
async fn changes_of_others_appear_at_once() {
    let visit = Visit::new(&(line("hall", "19", 60) + &line("kitchen", "21.5", 60))).await;
    visit.open_list().await;
    visit.until("value('hall') === '19' && value('kitchen') === '21.5'").await;
    assert_eq!(visit.see("marked()").await, json!([]));
    // Rows stay the same elements, so the focus stays too.
    visit.see("window.before = row('kitchen'), before.querySelector('.key').focus()").await;

    visit.endpoint.store("kitchen", "22").await;
    assert!(visit.until("value('kitchen') === '22'").await < SOON);
    assert_eq!(visit.see("marked()").await, json!(["kitchen"]));
    visit.endpoint.store("attic", "5").await;
    assert!(visit.until("keys().join() === 'attic,hall,kitchen'").await < SOON);
    visit.until("text('total') === '3 keys in “default”'").await;
    assert_eq!(visit.see("row('kitchen') === before && before.contains(document.activeElement)").await, json!(true));

    // Another process on the same files.
    visit.endpoint.run(&["set", "short-lived", "gone soon", "--ttl", "3s"]);
    assert!(visit.until("keys().includes('short-lived')").await < SOON);
    visit.endpoint.run(&["delete", "hall"]);
    assert!(visit.until("!keys().includes('hall')").await < SOON);
    visit.until("!keys().includes('short-lived')").await;

    // The ages grow while nothing is written.
    visit.until("/^[0-9]+ seconds ago$/.test(age('kitchen'))").await;
    visit.until("marked().length === 0").await;
    visit.end().await;
}

#[tokio::test]
async fn keys_that_come_while_the_list_is_read_are_shown() {
    let visit = Visit::new(&line("hall", "19", 60)).await;
    visit.open_list().await;
    visit.until("value('hall') === '19'").await;
    // The server has answered, but the answer arrives late.
    visit
        .see(
            "window.late = [], window.fetch = ((fetch) => async (url, ...rest) => {
                 const answer = await fetch(url, ...rest);
                 if (String(url).includes('keys=1')) await new Promise((arrives) => late.push(arrives));
                 return answer;
             })(window.fetch)",
        )
        .await;
    visit.see("$('view').value = 'flat', $('view').dispatchEvent(new Event('change'))").await;
    visit.until("late.length === 1").await;
    visit.endpoint.store("attic", "5").await;
    visit.until("text('total') === '2 keys in “default”'").await;
    visit.see("late.forEach((arrives) => arrives())").await;
    visit.until("keys().join() === 'attic,hall' && value('attic') === '5'").await;
    visit.end().await;
}

#[tokio::test]
async fn the_list_survives_a_restart_and_pauses_while_hidden() {
    let mut visit = Visit::new(&line("kitchen", "21.5", 60)).await;
    visit.open_list().await;
    visit.until("value('kitchen') === '21.5'").await;
    visit.open_key("kitchen").await;
    visit.edit("unsaved").await;

    visit.endpoint.stop();
    visit.until("/does not answer. Reconnecting in [0-9]+ s/.test(text('state'))").await;
    assert_eq!(visit.see("keys()").await, json!(["kitchen"]), "the old list stays");
    visit.endpoint.run(&["set", "while-stopped", "1"]);
    visit.endpoint.start_again().await;
    visit.endpoint.store("hall", "19").await;
    visit.until("keys().join() === 'hall,kitchen,while-stopped' && text('state') === 'Live'").await;
    assert_eq!(visit.see("$('edit-text').value").await, json!("unsaved"), "an edit in progress stays");

    let set_hidden = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}}) \
             && document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    visit.see(&set_hidden(true)).await;
    visit.endpoint.store("cellar", "12").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(visit.see("keys().includes('cellar')").await, json!(false));
    visit.see(&set_hidden(false)).await;
    assert!(visit.until("keys().includes('cellar')").await < SOON);
    visit.end().await;
}

#[tokio::test]
async fn buckets_are_chosen_by_the_select_and_by_the_url() {
    let visit = Visit::new(&line("kitchen", "21.5", 60)).await;
    visit.endpoint.run(&["set", "--bucket", "shop", "item/1", "lamp"]);
    visit.endpoint.run(&["append", "--bucket", "events", "house", "Started."]);
    visit.open_list().await;
    let names = "[...$('bucket').options].map(option => option.value)";
    assert_eq!(visit.see(names).await, json!(["default", "events", "shop", ""]));
    let choose = |name: &str| format!("$('bucket').value = '{name}', $('bucket').dispatchEvent(new Event('change'))");

    visit.see(&choose("shop")).await;
    visit.until("keys().join() === 'item/' && location.search === '?bucket=shop'").await;
    visit.endpoint.put("shop", "item/2", "text/plain", "chair").await;
    visit.until("age('item/') === '2 keys'").await;

    // A bucket may have only logs.
    visit.see(&choose("events")).await;
    visit.until("text('note').includes('is empty') && $('logs').checkVisibility()").await;
    visit.see("$('logs').open = true, document.querySelector('#logs-list button').click()").await;
    visit.until("text('chart').includes('Log: 1 entry')").await;

    visit.see(&choose("")).await;
    visit.fill("bucket-name", "brand_new\u{e007}").await;
    visit.until("location.search === '?bucket=brand_new' && text('note').includes('is empty')").await;

    let shop = format!("{}?bucket=shop", visit.endpoint.url());
    visit.browser.client.goto(&shop).await.expect("the page loads");
    visit.until("keys().join() === 'item/' && $('bucket').value === 'shop'").await;
    visit.end().await;
}

#[tokio::test]
async fn folders_are_opened_and_closed() {
    let devices: String = (0..1200).map(|n| line(&format!("dev/{:02}/s{n:04}", n / 100), "1", 600)).collect();
    let lines = devices + &line("dev", "a key with the name of a folder", 60) + &line("zone", "1", 60);
    let visit = Visit::new(&lines).await;
    visit.open_list().await;
    visit.until("keys().join() === 'dev,dev/,zone' && age('dev/') === '1,200 keys'").await;
    visit.open_row("dev/").await;
    visit.until("lines().length === 15 && age('dev/05/') === '100 keys'").await;
    visit.open_row("dev/11/").await;
    visit.until("lines().length === 115 && row('dev/11/s1199')").await;

    visit.endpoint.store("dev/11/s1199x", "new").await;
    assert!(visit.until("value('dev/11/s1199x') === 'new'").await < SOON);
    visit.until("age('dev/11/') === '101 keys' && age('dev/') === '1,201 keys'").await;
    // A closed folder shows that something in it has changed.
    visit.endpoint.store("dev/05/new", "1").await;
    visit.until("marked().includes('dev/05/')").await;
    visit.until("age('dev/05/') === '101 keys'").await;

    visit.open_row("dev/").await;
    visit.until("keys().join() === 'dev,dev/,zone'").await;
    visit.see("$('view').value = 'flat', $('view').dispatchEvent(new Event('change'))").await;
    visit.until("lines().length === 1000 && keys()[1] === 'dev/00/s0000'").await;
    visit.click("#tree .more").await;
    visit.until("lines().length === 1204").await;
    visit.end().await;
}

#[tokio::test]
async fn all_keys_are_searched_and_ordered() {
    let lines: String = (0..2300).map(|n| line(&format!("key/{n:04}"), "1", 3000 - n)).collect();
    let visit = Visit::new(&lines).await;
    visit.open_list().await;
    visit.fill("search", "EY/22").await;
    visit.until("lines().length === 100 && text('note') === '100 keys found.'").await;
    visit.endpoint.store("new key/22", "1").await;
    assert!(visit.until("lines().length === 101").await < SOON);
    visit.fill("search", "key/").await;
    visit.until("lines().length >= 1000 && text('note').includes('type more')").await;
    assert_eq!(visit.see("keys().join() === keys().sort().join()").await, json!(true));

    visit.fill("search", "key/00").await;
    visit.until("text('note') === '100 keys found.'").await;
    visit.see("$('sort').value = 'age', $('sort').dispatchEvent(new Event('change'))").await;
    visit.until("keys()[0] === 'key/0099' && keys()[99] === 'key/0000'").await;
    visit.end().await;
}
