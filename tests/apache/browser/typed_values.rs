//! How values are shown: the parts of JSON, numbers of a log, images and other bytes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde_json::json;

use super::line;
use super::visit::Visit;

#[tokio::test]
async fn a_part_of_a_json_value_is_edited() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    let value = r#"{"lux": 300, "temp": [21.50, 22.0], "a/b": {"~": 12345678901234567890}}"#;
    visit.endpoint.put("default", "light", "application/json", value).await;
    visit.open_key("light").await;
    let leaves = "Object.fromEntries([...document.querySelectorAll('.leaf')] \
                  .map(leaf => [leaf.dataset.path, leaf.querySelector('button').textContent]))";
    let parts = json!({"/lux": "300", "/temp/0": "21.50", "/temp/1": "22.0", "/a~1b/~0": "12345678901234567890"});
    assert_eq!(visit.see(leaves).await, parts);

    visit.see("document.querySelector('[data-path=\"/temp/1\"] button').click()").await;
    visit.see("document.querySelector('.leaf input').value = 'warm'").await;
    visit.click(".leaf .main").await;
    visit.until("text('details-note').includes('Put a text in double quotes')").await;
    visit.see("document.querySelector('.leaf input').value = '23.50'").await;
    visit.click(".leaf .main").await;
    visit.until("document.querySelector('[data-path=\"/temp/1\"] button').textContent === '23.50'").await;
    visit.click("#view-raw").await;
    visit.until("shown().includes('[21.50,23.50]') && shown().includes('12345678901234567890')").await;

    // Somebody else changes another part: this is a conflict, too.
    visit.click("#view-json").await;
    visit.see("document.querySelector('[data-path=\"/lux\"] button').click()").await;
    visit.see("document.querySelector('.leaf input').value = '301'").await;
    visit.endpoint.put("default", "light", "application/json", r#"{"lux":1,"new":true}"#).await;
    visit.until("$('conflict').checkVisibility()").await;
    visit.click("#replace").await;
    visit.until("document.querySelector('[data-path=\"/lux\"] button').textContent === '301'").await;
    visit.until("document.querySelector('[data-path=\"/new\"] button').textContent === 'true'").await;
    visit.end().await;
}

#[tokio::test]
async fn numbers_are_drawn() {
    let visit = Visit::new(&(line("temp", "20", 60) + &line("hum", "40", 60))).await;
    for value in ["18.5", "21", "19.5"] {
        visit.endpoint.run(&["append", "temp", value]);
    }
    visit.open_list().await;
    visit.open_key("temp").await;
    visit.until("document.querySelectorAll('#chart polyline').length === 1").await;
    let label = visit.see("document.querySelector('#chart svg').getAttribute('aria-label')").await;
    assert_eq!(label, json!("Line chart of temp: 3 values from the log, lowest 18.5, highest 21, latest 19.5."));
    let axis = visit.see("[...document.querySelectorAll('#chart text')].map(text => text.textContent)").await;
    assert!(axis.as_array().expect("labels").contains(&json!("20")), "{axis}");
    visit.see("document.querySelector('#chart details').open = true").await;
    visit
        .until("[...document.querySelectorAll('#chart td.mono')].map(cell => cell.innerText).join() === '19.5,21,18.5'")
        .await;

    // Without a log the values are drawn that have arrived since the page was opened.
    visit.open_key("hum").await;
    assert_eq!(visit.see("document.querySelector('#chart svg')").await, json!(null));
    for value in ["41", "43"] {
        visit.endpoint.store("hum", value).await;
        visit.until(&format!("value('hum') === '{value}'")).await;
    }
    visit.until("document.querySelector('#chart .seen').getAttribute('points').split(' ').length === 2").await;
    visit.end().await;
}

#[tokio::test]
async fn images_and_other_bytes_are_shown() {
    let visit = Visit::new("").await;
    visit.open_list().await;
    let binary = |key: &str, bytes: &[u8], media_type: &str| {
        let mut arguments: Vec<OsString> = vec!["set".into(), key.into(), OsString::from_vec(bytes.to_vec())];
        arguments.extend(["--type".into(), media_type.into()]);
        arguments
    };
    visit.endpoint.run(&binary("picture", b"\x89PNG\xff", "image/png"));
    visit.endpoint.run(&binary("bytes", b"\xffkvs", "application/octet-stream"));
    visit.until("value('picture') === 'image/png, 5 bytes'").await;
    visit.open_key("bytes").await;
    visit.until("shown() === '0000  ff 6b 76 73              .kvs'").await;
    assert_eq!(visit.see("$('edit').checkVisibility() || $('copy').checkVisibility()").await, json!(false));
    visit.open_key("picture").await;
    visit.until("document.querySelector('#preview img').src === 'data:image/png;base64,iVBOR/8='").await;
    visit.end().await;
}
