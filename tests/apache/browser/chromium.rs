//! Debian's Chromium, headless, controlled by chromedriver on a free port, with a profile in a temporary folder.
//!
//! Both stop when the value is dropped, also when a test panics. This file does not know the page.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

const DRIVER: &str = "/usr/bin/chromedriver";
const BROWSER: &str = "/usr/bin/chromium";

/// A browser with one window.
pub(crate) struct Chromium {
    /// The window.
    pub(crate) client: Client,
    _driver: Driver,
}

impl Chromium {
    /// Starts a browser with an empty profile.
    pub(crate) async fn start() -> Self {
        let driver = Driver::start();
        let profile = driver.profile.path().display();
        let options = json!({
            "binary": BROWSER,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--window-size=1100,900", "--lang=en", format!("--user-data-dir={profile}"),
            ],
        });
        let capabilities = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .expect("chromedriver starts Chromium");
        Self { client, _driver: driver }
    }

    /// Runs this script in every page before the scripts of the page. The policy of the page does not apply to it.
    pub(super) async fn before_each_page(&self, script: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": script})).await;
    }

    /// Emulates a screen of this size, which may be narrower than a window can be.
    pub(super) async fn screen(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Sets a media feature, such as `prefers-color-scheme`.
    pub(super) async fn media(&self, feature: &str, value: &str) {
        self.devtools("Emulation.setEmulatedMedia", json!({"features": [{"name": feature, "value": value}]})).await;
    }

    async fn devtools(&self, command: &'static str, parameters: Value) {
        let call = DevTools { command, parameters };
        self.client.issue_cmd(call).await.unwrap_or_else(|e| panic!("{command}: {e}"));
    }
}

/// chromedriver, in a process group of its own together with the browser it starts.
struct Driver {
    process: Child,
    port: u16,
    profile: TempDir,
}

impl Driver {
    /// chromedriver takes a free port of IPv4, then the same port of IPv6. It exits if that one is in use; then another
    /// attempt is made.
    fn start() -> Self {
        (0..5).find_map(|_| Self::try_start()).expect("chromedriver prints its port")
    }

    fn try_start() -> Option<Self> {
        let profile = TempDir::new().expect("a folder for the profile");
        let mut process = Command::new(DRIVER)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            // So that the settings of the user do not affect the browser.
            .env("HOME", profile.path())
            .env("XDG_CONFIG_HOME", profile.path())
            .env("XDG_CACHE_HOME", profile.path())
            .spawn()
            .unwrap_or_else(|e| panic!("{DRIVER}: {e}; install the packages chromium and chromium-driver"));
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut driver = Self { process, port: 0, profile };
        driver.port = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_suffix('.')?.rsplit_once("successfully on port ")?.1.parse().ok())?;
        Some(driver)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

/// A command to Chromium's developer tools, which chromedriver passes on.
#[derive(Debug)]
struct DevTools {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({"cmd": self.command, "params": self.parameters});
        (http::Method::POST, Some(body.to_string()))
    }
}
