//! A headless Chromium, told what to do by chromedriver (WebDriver: JSON over HTTP).

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::harness::eventually;

/// A page that does not show what is waited for by then is wrong; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where WebDriver puts an element's name.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What the screen is like.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

pub const DESK: Screen = Screen { width: 1280, height: 1000, dark: false };
pub const PHONE: Screen = Screen { width: 360, height: 780, dark: false };

/// A browser with one tab; ended with the value.
pub struct Browser {
    client: Client,
    session: String,
    driver: Child,
}

/// A program of Debian's package `chromium-driver`, or what a variable names instead.
fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(given) = std::env::var_os(variable) {
        return given.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is missing: as root, `dev/install chromium-driver` (Debian) brings it and Chromium; \
             elsewhere name it in {variable}"
        )
    })
}

impl Browser {
    pub async fn start(screen: Screen) -> Self {
        let mut driver = Command::new(program("CHROMEDRIVER", "chromedriver"))
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let told = BufReader::new(driver.stdout.take().expect("its output is ours"));
        let port = told.lines().map_while(Result::ok).find_map(|line| {
            let port = line.split("successfully on port ").nth(1)?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let port = port.expect("chromedriver tells its port");
        let client = Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        let base = format!("http://127.0.0.1:{port}/session");
        let arguments = [
            "--headless=new",
            // as root, which build machines are
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": program("CHROMIUM", "chromium"), "args": arguments,
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let answer =
            client.post(&base).json(&capabilities).send().await.expect("chromedriver answers");
        let answer: Value = answer.json().await.expect("chromedriver answers JSON");
        let id = answer["value"]["sessionId"].as_str();
        let session = format!("{base}/{}", id.unwrap_or_else(|| panic!("no session: {answer}")));
        let browser = Self { client, session, driver };
        browser.turn(screen).await;
        browser
    }

    /// Makes the screen another one.
    pub async fn turn(&self, screen: Screen) {
        let metrics = json!({
            "width": screen.width, "height": screen.height, "deviceScaleFactor": 1,
            "screenWidth": screen.width, "screenHeight": screen.height,
            "mobile": screen.width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if screen.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.tell(Method::POST, "goog/cdp/execute", Some(body)).await
    }

    async fn try_tell(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let url = format!("{}/{path}", self.session);
        let request = self.client.request(method, url);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let good = answer.status().is_success();
        let value: Value = answer.json().await.map_err(|error| error.to_string())?;
        if good { Ok(value["value"].clone()) } else { Err(value["value"].to_string()) }
    }

    async fn tell(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let told = self.try_tell(method, path, body).await;
        told.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub async fn open(&self, url: &str) {
        self.tell(Method::POST, "url", Some(json!({ "url": url }))).await;
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.tell(Method::POST, "execute/sync", Some(json!({ "script": script, "args": [] }))).await
    }

    /// The text of the first element that fits, as one sees it; empty where there is none or it is hidden.
    pub async fn text(&self, selector: &str) -> String {
        let script = format!(
            "const one = document.querySelector({}); return one && one.checkVisibility() ? one.innerText : ''",
            json!(selector)
        );
        self.run(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text of an element is as it should be.
    pub fn shows<'a>(
        &'a self,
        selector: &'a str,
        part: &'a str,
    ) -> impl Future<Output = String> + 'a {
        self.until(selector, part, move |text| text.contains(part))
    }

    /// The same by a condition, which `what` tells in words.
    pub async fn until(&self, selector: &str, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let what = format!("{selector} shows {what:?}");
        eventually(&what, PATIENCE, async || {
            let text = self.text(selector).await;
            if !fits(&text) {
                tokio::time::sleep(Duration::from_millis(80)).await;
                return None;
            }
            Some(text)
        })
        .await
    }

    async fn find(&self, selector: &str) -> Result<String, String> {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.try_tell(Method::POST, "element", Some(body)).await?;
        Ok(found[ELEMENT].as_str().unwrap_or_default().to_owned())
    }

    /// Clicks as a person does: it fails where something lies above it.
    pub async fn click(&self, selector: &str) {
        eventually(&format!("{selector} can be clicked"), PATIENCE, async || {
            let element = self.find(selector).await.ok()?;
            let path = format!("element/{element}/click");
            self.try_tell(Method::POST, &path, Some(json!({}))).await.ok()
        })
        .await;
    }

    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector).await.unwrap_or_else(|error| panic!("{error}"));
        self.tell(Method::POST, &format!("element/{element}/clear"), Some(json!({}))).await;
        let path = format!("element/{element}/value");
        self.tell(Method::POST, &path, Some(json!({ "text": text }))).await;
    }

    /// Presses keys, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let strokes: Vec<Value> = strokes.collect();
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.tell(Method::POST, "actions", Some(body)).await;
    }

    /// Keeps a picture of the whole page as `.local/browser/<name>.png`.
    pub async fn keep(&self, name: &str) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.local/browser");
        std::fs::create_dir_all(folder).expect("a folder for pictures");
        let metrics = self.devtools("Page.getLayoutMetrics", json!({})).await;
        let size = &metrics["cssContentSize"];
        let whole = json!({ "captureBeyondViewport": true, "clip": {
            "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1,
        }});
        let picture = self.devtools("Page.captureScreenshot", whole).await;
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).expect("a picture");
        let file = format!("{folder}/{name}.png");
        std::fs::write(&file, bytes).expect("the picture is written");
        println!("screenshot: {file}");
    }

    /// What the browser complained about since it was asked last: errors of scripts, refusals of the
    /// policy.
    pub async fn complaints(&self) -> Vec<String> {
        let body = json!({ "type": "browser" });
        let log = self.tell(Method::POST, "se/log", Some(body)).await;
        let records = log.as_array().cloned().unwrap_or_default();
        let severe = records.iter().filter(|one| one["level"] == "SEVERE");
        severe.filter_map(|one| one["message"].as_str().map(str::to_owned)).collect()
    }

    /// Ends it orderly; dropped without, it is killed.
    pub async fn close(self) {
        self.try_tell(Method::DELETE, "", None).await.ok();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // What it started ends with it: Chromium notices that nobody holds its other end.
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

/// Keys that are no characters.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
