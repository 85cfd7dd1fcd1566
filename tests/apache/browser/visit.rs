//! A visit: a browser on the index page of an endpoint, and what a person does and sees there.
//!
//! The scripts see what a person sees: rendered text, and rows that are not hidden.

use std::time::{Duration, Instant};

use fantoccini::Locator;
use serde_json::{Value, json};

use super::chromium::Chromium;
use super::endpoint::{Endpoint, SECRET};

/// The timeout of every step that is not measured.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Runs before the script of the page and collects its errors.
const WITNESS: &str = "
    window.faults = [];
    addEventListener('securitypolicyviolation', e => faults.push(`${e.violatedDirective}: ${e.blockedURI} ${e.sample}`));
    addEventListener('error', e => faults.push(`error: ${e.message}`));
    addEventListener('unhandledrejection', e => faults.push(`rejected: ${e.reason}`));";

/// Functions for the scripts of the tests. They read text as a person sees it. A row is a key or a folder.
const WORDS: &str = "
    const $ = id => document.getElementById(id);
    const text = id => $(id).innerText;
    const lines = () => [...document.querySelectorAll('#tree li')].filter(line => line.checkVisibility());
    const key = line => line.dataset.key ?? line.dataset.folder;
    const keys = () => lines().map(key);
    const row = name => lines().find(line => key(line) === name);
    const value = name => row(name).querySelector('.preview').innerText;
    const age = name => row(name).querySelector('.age').innerText;
    const marked = () => lines().filter(line => line.querySelector('.row').matches('.fresh')).map(key);
    const shown = () => document.querySelector('#preview pre').textContent;";

/// A browser on the index page of an endpoint.
pub(super) struct Visit {
    /// The visited endpoint.
    pub(super) endpoint: Endpoint,
    /// The browser of the visit.
    pub(super) browser: Chromium,
}

impl Visit {
    /// The first visit to an endpoint whose file begins with these lines.
    pub(super) async fn new(lines: &str) -> Self {
        Self::with(lines, &[]).await
    }

    /// The same for a program with these flags.
    pub(super) async fn with(lines: &str, flags: &'static [&'static str]) -> Self {
        let visit = Self { endpoint: Endpoint::start(lines, flags).await, browser: Chromium::start().await };
        visit.browser.before_each_page(WITNESS).await;
        visit.load().await;
        visit
    }

    pub(super) async fn load(&self) {
        self.browser.client.goto(&self.endpoint.url()).await.expect("the page loads");
        self.until("$('access').checkVisibility() || $('list').checkVisibility()").await;
    }

    /// The value of an expression in the page.
    pub(super) async fn see(&self, expression: &str) -> Value {
        let script = format!("{WORDS}\nreturn {expression};");
        self.browser.client.execute(&script, vec![]).await.unwrap_or_else(|e| panic!("{expression}: {e}"))
    }

    /// Waits until an expression is true.
    pub(super) async fn until(&self, expression: &str) -> Duration {
        let start = Instant::now();
        while self.see(&format!("(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()")).await
            != json!(true)
        {
            assert!(
                start.elapsed() <= PATIENCE,
                "not within {PATIENCE:?}: {expression}\nthe page:\n{}",
                self.see("document.body.innerText").await
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        start.elapsed()
    }

    /// Types into a field as a person does, replacing its text.
    pub(super) async fn fill(&self, id: &str, text: &str) {
        let field = self.browser.client.find(Locator::Id(id)).await.expect(id);
        field.clear().await.expect(id);
        field.send_keys(text).await.expect(id);
    }

    pub(super) async fn click(&self, selector: &str) {
        let button = self.browser.client.find(Locator::Css(selector)).await.expect(selector);
        button.click().await.expect(selector);
    }

    /// Presses a key in the element that has the focus.
    pub(super) async fn press(&self, key: fantoccini::key::Key) {
        let focused = self.browser.client.active_element().await.expect("something has the focus");
        focused.send_keys(&key.to_string()).await.expect("the key is pressed");
    }

    /// Enters the secret and waits for the list.
    pub(super) async fn open_list(&self) {
        self.fill("secret", SECRET).await;
        self.click("#open button").await;
        self.until("$('list').checkVisibility() && text('state') === 'Live'").await;
    }

    /// Opens the folder or the details of the key in this row.
    pub(super) async fn open_row(&self, name: &str) {
        let name = json!(name);
        self.until(&format!("row({name})")).await;
        self.see(&format!("row({name}).querySelector('.key').click()")).await;
    }

    /// Opens the details of a key, and waits until its value is there.
    pub(super) async fn open_key(&self, name: &str) {
        self.open_row(name).await;
        let name = json!(name);
        self.until(&format!("$('details-key').textContent === {name} && $('facts').childElementCount > 0")).await;
    }

    /// Begins an edit of the open key, and replaces the text in the field.
    pub(super) async fn edit(&self, text: &str) {
        self.click("#edit").await;
        self.see(&format!("$('edit-text').value = {}", json!(text))).await;
    }

    pub(super) async fn look_up(&self, typed: &str) {
        self.fill("look-keys", typed).await;
        self.click("#look button").await;
    }

    /// Ends the visit, and checks that there were no errors in the page.
    pub(super) async fn end(self) {
        assert_eq!(self.see("faults").await, json!([]));
        assert_eq!(self.see("typeof window.pwned").await, json!("undefined"));
        self.browser.client.clone().close().await.expect("the browser closes");
    }
}
