# SPDX-License-Identifier: MIT
"""A headless Chromium for the tests of the page, and what they look at: its log, its requests, its accessibility tree, its colours."""
import json
import os
import shutil

from reeldlib import DEADLINE, wait_until
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

# The ratio of WCAG 2.2, success criterion 1.4.3, for every visible text and its computed colours; those below it come back.
CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function rgba(text) {
	canvas.clearRect(0, 0, 1, 1);
	canvas.fillStyle = text;
	canvas.fillRect(0, 0, 1, 1);
	const data = canvas.getImageData(0, 0, 1, 1).data;
	return [data[0], data[1], data[2], data[3] / 255];
}
function over(top, below) {
	return [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
}
function background(node) {
	if (node === null)
		return [255, 255, 255, 1];
	const own = rgba(getComputedStyle(node).backgroundColor);
	return own[3] === 1 ? own : over(own, background(node.parentElement));
}
function luminance(colour) {
	const [r, g, b] = colour.slice(0, 3).map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
	return .2126 * r + .7152 * g + .0722 * b;
}
function ratio(a, b) {
	const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
	return (high + .05) / (low + .05);
}
const bad = [];
let seen = 0;
for (const node of document.querySelectorAll("body *")) {
	const style = getComputedStyle(node);
	if (!node.checkVisibility({visibilityProperty: true}) || node.closest(".hidden, noscript, svg title, .skip"))
		continue;
	const below = background(node);
	if ([...node.childNodes].some(child => child.nodeType === 3 && child.data.trim() !== "")) {
		const is_svg = node instanceof SVGElement;
		const found = ratio(over(rgba(is_svg ? style.fill : style.color), below), below);
		seen++;
		if (found < 4.5)
			bad.push([found.toFixed(2), node.tagName, node.className.toString(), node.textContent.slice(0, 40)]);
	}
	// 1.4.11: lines of the plots and the borders of what can be used.
	if (node.matches("path.line") && ratio(rgba(style.stroke), below) < 3)
		bad.push(["line", node.getAttribute("class")]);
	if (node.matches("button:enabled:not(.expand, .quiet, [aria-disabled]), input, select") &&
		ratio(over(rgba(style.borderTopColor), background(node.parentElement)), background(node.parentElement)) < 3)
		bad.push(["border", node.id || node.textContent]);
}
return [seen, bad];
"""

# What the accessibility tree does not say.
STRUCTURE = """
const bad = [];
const all = selector => [...document.querySelectorAll(selector)];
if (!document.documentElement.lang) bad.push("no language");
if (!document.title) bad.push("no title");
const ids = all("[id]").map(node => node.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) bad.push("twice: #" + id);
for (const node of all("[tabindex]")) if (node.tabIndex > 0) bad.push("tabindex " + node.tabIndex);
for (const name of ["aria-labelledby", "aria-describedby"])
	for (const node of all("[" + name + "]"))
		for (const id of node.getAttribute(name).split(" ")) if (!document.getElementById(id)) bad.push(name + " " + id);
for (const node of all("[aria-expanded=true]")) if (!document.getElementById(node.getAttribute("aria-controls"))) bad.push("controls nothing: " + node.textContent);
for (const node of all("table")) if (!node.caption) bad.push("a table without a caption");
for (const node of all("th")) if (!/^(row|col)$/.test(node.scope)) bad.push("th without scope: " + node.textContent);
let level = 0;
for (const node of all("h1, h2, h3, h4, h5, h6")) {
	if (!node.checkVisibility() || node.closest("dialog")) continue;
	const here = Number(node.tagName[1]);
	if (here > level + 1) bad.push("h" + here + " below h" + level + ": " + node.textContent);
	level = here;
}
if (all("h1").length !== 1) bad.push(all("h1").length + " h1");
for (const node of all("[style]")) if (!node.closest("svg")) bad.push("inline style: " + node.outerHTML.slice(0, 80));
return bad;
"""

NAMED = {"button", "link", "combobox", "searchbox", "textbox", "slider", "table", "dialog", "region", "navigation", "Audio", "DisclosureTriangle", "image", "img"}


class Browser:
    def __init__(self):
        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        assert chromium and driver, "chromium and chromedriver (Debian packages chromium, chromium-driver) are needed"
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--no-proxy-server",
                         "--disable-background-networking", "--disable-component-update", "--mute-audio", "--lang=en-US", "--window-size=1280,1000"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service(driver), options=options)
        self.driver.set_script_timeout(DEADLINE)
        self.driver.set_page_load_timeout(DEADLINE)

    def close(self):
        self.driver.quit()

    def cdp(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def open(self, url):
        """A page as a new visitor sees it, at 1280 pixels and in light colours."""
        self.driver.get("about:blank")
        self.log()
        self.requests()
        self.size(1280, 1000)
        self.theme("light")
        self.driver.get(url)
        return self

    def size(self, width, height, scale=1):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)

    def theme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def value(self, expression):
        return self.js("return " + expression)

    def wait(self, expression, seconds=DEADLINE):
        return wait_until(lambda: self.value(expression), lambda: f"{expression}\n{self.text()[:1500]}", seconds, 0.05)

    def text(self, selector="body"):
        return self.js("const node = document.querySelector(arguments[0]); return node ? node.innerText : ''", selector)

    def press(self, *keys):
        """Keys for whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def tab_to(self, condition, most=200):
        """Presses Tab until `condition` (of `node`, the focused element) holds."""
        for _ in range(most):
            self.press(Keys.TAB)
            if self.js("const node = document.activeElement; return Boolean(" + condition + ")"):
                return
        raise AssertionError(f"{most} tabs do not lead to {condition}")

    def log(self):
        """Console messages since the last call, violations of the policy among them."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """URLs asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def accessibility(self):
        """(role, name) of everything that a screen reader is told of."""
        self.cdp("Accessibility.enable")
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        self.cdp("Accessibility.disable")
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"] and "role" in node]

    def nameless(self):
        return [role for role, name in self.accessibility() if role in NAMED and not name.strip()]

    def shot(self, name):
        """For people: REELD_PAGE_SHOTS names a directory."""
        if os.environ.get("REELD_PAGE_SHOTS"):
            self.driver.save_screenshot(os.path.join(os.environ["REELD_PAGE_SHOTS"], name + ".png"))
