//! A visit: a browser on the index page of an endpoint, with what a person does there and sees.
//!
//! What a script sees is what a person sees: text as it is rendered, rows that are not hidden.

use std::time::{Duration, Instant};

use fantoccini::Locator;
use serde_json::{Value, json};

use super::chromium::Chromium;
use super::endpoint::{Endpoint, SECRET};

/// Longer than anything takes that is not itself measured.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Runs before the page's own script: keeps what went wrong.
const WITNESS: &str = "
    window.faults = [];
    addEventListener('securitypolicyviolation', e => faults.push(`${e.violatedDirective}: ${e.blockedURI} ${e.sample}`));
    addEventListener('error', e => faults.push(`error: ${e.message}`));
    addEventListener('unhandledrejection', e => faults.push(`rejected: ${e.reason}`));";

/// What the scripts below speak with. Text is taken as a person sees it.
const WORDS: &str = "
    const $ = id => document.getElementById(id);
    const text = id => $(id).innerText;
    const lines = () => [...document.querySelectorAll('#list-rows tr')].filter(line => line.checkVisibility());
    const key = line => line.querySelector('.key').textContent;
    const row = name => lines().find(line => key(line) === name);
    const cell = (name, index) => row(name).cells[index].innerText;
    const keys = () => lines().map(key);";

/// A browser on the index page of an endpoint.
pub(super) struct Visit {
    /// What is visited.
    pub(super) endpoint: Endpoint,
    /// What it is visited with.
    pub(super) browser: Chromium,
}

impl Visit {
    /// The first visit to an endpoint whose file begins with these lines.
    pub(super) async fn new(lines: &str) -> Self {
        Self::with(lines, &[]).await
    }

    /// The same where the program was started with these flags.
    pub(super) async fn with(lines: &str, flags: &'static [&'static str]) -> Self {
        let visit = Self { endpoint: Endpoint::start(lines, flags).await, browser: Chromium::start().await };
        visit.browser.before_each_page(WITNESS).await;
        visit.load().await;
        visit
    }

    pub(super) async fn load(&self) {
        self.browser.client.goto(&self.endpoint.url()).await.expect("the page loads");
        self.until("!$('open').hidden || !$('list').hidden").await;
    }

    /// The value of an expression in the page.
    pub(super) async fn see(&self, expression: &str) -> Value {
        let script = format!("{WORDS}\nreturn {expression};");
        self.browser.client.execute(&script, vec![]).await.unwrap_or_else(|e| panic!("{expression}: {e}"))
    }

    /// Waits until an expression is true.
    pub(super) async fn until(&self, expression: &str) -> Duration {
        let begun = Instant::now();
        while self.see(&format!("(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()")).await
            != json!(true)
        {
            assert!(
                begun.elapsed() <= PATIENCE,
                "not within {PATIENCE:?}: {expression}\nthe page:\n{}",
                self.see("document.body.innerText").await
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        begun.elapsed()
    }

    /// Types into a field as a person does, replacing what stands there.
    pub(super) async fn fill(&self, id: &str, text: &str) {
        let field = self.browser.client.find(Locator::Id(id)).await.expect(id);
        field.clear().await.expect(id);
        field.send_keys(text).await.expect(id);
    }

    pub(super) async fn click(&self, selector: &str) {
        let button = self.browser.client.find(Locator::Css(selector)).await.expect(selector);
        button.click().await.expect(selector);
    }

    /// Presses a key wherever the focus is.
    pub(super) async fn press(&self, key: fantoccini::key::Key) {
        let focused = self.browser.client.active_element().await.expect("something has the focus");
        focused.send_keys(&key.to_string()).await.expect("the key is taken");
    }

    pub(super) async fn open_list(&self) {
        self.fill("open-secret", SECRET).await;
        self.click("#open button").await;
        self.until("$('list').checkVisibility()").await;
    }

    pub(super) async fn look_up(&self, typed: &str) {
        self.fill("look-keys", typed).await;
        self.click("#look button").await;
    }

    /// Ends the visit. Nothing may have gone wrong in the page without having been seen.
    pub(super) async fn end(self) {
        assert_eq!(self.see("faults").await, json!([]));
        assert_eq!(self.see("typeof window.pwned").await, json!("undefined"));
        self.browser.client.clone().close().await.expect("the browser closes");
    }
}
