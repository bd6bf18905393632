// SPDX-License-Identifier: MIT
// The page of the private listener. Nothing from the data becomes markup: text goes in as text nodes only. No request leaves this origin but audio from the store.
"use strict";

const POLL_MS = 5000, STATS_MS = 60000, HOUR_MS = 3600000, GAP_MS = 20000, PAGE_SIZE = 50, DEAD_SIZE = 20, LEFT = 52, WAVE_BYTES = 16e6;
const SVG = "http://www.w3.org/2000/svg";
const STATUSES = ["pending", "running", "stored", "skipped", "absent", "failed", "dead", "deleted"];
const LOOKS = {stored: "ok-text", running: "run-text", dead: "bad-text", failed: "bad-text"};
// A pending one without a next attempt waits for Twilio's completed.
const retryable = item => item.status === "dead" || (item.status === "pending" && Boolean(item.nextAttemptAt));

const $ = id => document.getElementById(id);

// ---- Theme: before anything is painted ----

function kept(name, value) { // storage may be forbidden
	try {
		if (value === undefined)
			return localStorage.getItem(name) || "";
		localStorage.setItem(name, value);
	} catch { /* then it lasts as long as the page */ }
	return "";
}

function setTheme(theme) {
	if (theme === "light" || theme === "dark")
		document.documentElement.dataset.theme = theme;
	else
		delete document.documentElement.dataset.theme;
}
setTheme(kept("reeld-theme"));

// ---- Elements ----

// el("td.num", {title: "…"}, "text", child, …): attributes, and functions as listeners; strings become text nodes.
function el(name, attributes, ...children) {
	const [tag, ...classes] = name.split(".");
	const node = document.createElement(tag);
	if (classes.length > 0)
		node.className = classes.join(" ");
	for (const [key, value] of Object.entries(attributes || {})) {
		if (typeof value === "function")
			node.addEventListener(key, value);
		else if (value !== null && value !== undefined && value !== false)
			node.setAttribute(key, value === true ? "" : value);
	}
	node.append(...children.filter(child => child !== null && child !== undefined));
	return node;
}

function svg(tag, attributes, text) {
	const node = document.createElementNS(SVG, tag);
	for (const [key, value] of Object.entries(attributes))
		node.setAttribute(key, value);
	if (text !== undefined)
		node.textContent = text;
	return node;
}

// Leaves a node alone that has the text already: no flicker, and nothing for a screen reader to repeat.
function setText(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

// ---- Numbers and times ----

const integer = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, {notation: "compact", maximumSignificantDigits: 3});
const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const minutes = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
const moment = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const dayName = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short", timeZone: "UTC"});
const NONE = "–";

const count = value => value === null || value === undefined ? NONE : value < 100000 ? integer.format(value) : compact.format(value);

function bytes(value) {
	if (value === null || value === undefined)
		return NONE;
	let unit = 0;
	for (; value >= 999.5 && unit < 4; unit++)
		value /= 1000;
	return (unit === 0 ? Math.round(value) : Number(value.toPrecision(3))) + " " + ["B", "kB", "MB", "GB", "TB"][unit];
}

function duration(seconds) {
	if (seconds === null || seconds === undefined)
		return NONE;
	seconds = Math.round(seconds);
	const two = value => String(value).padStart(2, "0");
	return seconds < 3600 ? Math.floor(seconds / 60) + ":" + two(seconds % 60) : Math.floor(seconds / 3600) + ":" + two(Math.floor(seconds / 60) % 60) + ":" + two(seconds % 60);
}

function age(seconds) {
	if (seconds < 90)
		return Math.round(seconds) + " s";
	if (seconds < 5400)
		return Math.round(seconds / 60) + " min";
	return seconds < 172800 ? Math.round(seconds / 3600) + " h" : Math.round(seconds / 86400) + " d";
}

function time(iso) {
	const date = new Date(iso);
	if (!iso || isNaN(date))
		return el("span", null, NONE);
	return el("time", {datetime: iso, title: iso.replace("T", " ").replace("Z", " UTC")}, moment.format(date));
}

const plural = (n, one, many) => count(n) + " " + (n === 1 ? one : many);

// ---- Asking ----

let token = "";
try {
	token = sessionStorage.getItem("reeld-token") || "";
} catch { /* asked for again */ }

class Refused extends Error {
	constructor(status, message) {
		super(message);
		this.status = status;
	}
}

async function ask(path, method = "GET") {
	const headers = token === "" ? {} : {Authorization: "Bearer " + token};
	const reply = await fetch(path, {method, headers, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(15000)});
	let body = null;
	try {
		body = await reply.json();
	} catch { /* said below */ }
	if (reply.status === 401) {
		needToken();
		throw new Refused(401, "the token is missing or wrong");
	}
	if (!reply.ok)
		throw new Refused(reply.status, body && typeof body.error === "string" ? body.error : "status " + reply.status);
	if (body === null || typeof body !== "object")
		throw new Refused(reply.status, "the answer is not what this page knows");
	return body;
}

let noticeTimer = 0;
function notice(text) {
	setText($("notice"), text);
	clearTimeout(noticeTimer);
	noticeTimer = setTimeout(() => setText($("notice"), ""), 10000);
}

// ---- Token ----

let locked = false;

function showTokenButton() {
	$("token-button").hidden = !locked && token === "";
	setText($("token-button"), locked ? "Enter token" : "Forget token");
}

function needToken() {
	if (locked)
		return;
	locked = true;
	setText($("token-error"), token === "" ? "" : "This token was not accepted.");
	showTokenButton();
	verdict("warn", "Locked", "The API asks for a token; this page shows nothing without it.");
	askToken();
}

function askToken() {
	$("token").value = "";
	if (!$("token-dialog").open)
		$("token-dialog").showModal();
	$("token").focus();
}

function keepToken(value) {
	token = value;
	try {
		sessionStorage.setItem("reeld-token", token);
	} catch { /* asked for again after a reload */ }
}

function startToken() {
	$("token-form").addEventListener("submit", event => {
		event.preventDefault();
		keepToken($("token").value.trim());
		locked = false;
		$("token-dialog").close();
		showTokenButton();
		poll.now();
	});
	$("token-cancel").addEventListener("click", () => $("token-dialog").close());
	$("token-button").addEventListener("click", () => {
		if (locked) {
			askToken();
			return;
		}
		keepToken("");
		location.reload(); // nothing that was shown stays
	});
}

// ---- Health: one line ----

let lastVerdict = "";

function verdict(level, title, text) {
	$("verdict").className = "verdict " + level;
	setText($("verdict-title"), title);
	setText($("verdict-text"), text);
	document.title = (level === "ok" ? "" : "! ") + title + " – reeld";
	// Said aloud when it changes, not with every number in it.
	if (lastVerdict !== "" && lastVerdict !== title)
		notice("Health: " + title);
	lastVerdict = title;
}

function judge(health, counts) {
	const dependencies = Object.entries(health.dependencies || {});
	const lost = dependencies.filter(([, state]) => !state.up);
	const down = lost.map(([name, state]) => name + " (" + state.kind + ")");
	const inbox = health.inbox || {};
	const dead = counts ? counts.dead : null;
	const facts = [];
	facts.push(down.length > 0 ? "Down: " + down.join(", ") : "All " + dependencies.length + " dependencies up");
	facts.push(inbox.events > 0 ? "inbox " + count(inbox.events) + ", oldest " + age(inbox.oldestSeconds || 0) : "inbox empty");
	facts.push(dead === null ? "ledger not counted" : dead === 0 ? "nothing dead" : count(dead) + " dead");
	const text = facts.join(" · ");
	if (health.stopping)
		verdict("bad", "Stopping", text);
	else if (!health.ready)
		verdict("bad", "Events are refused", "The journal cannot be written" + (inbox.reason ? " (" + inbox.reason + ")" : "") + ": Twilio is answered 503. " + text);
	else if (lost.some(([name]) => name !== "idempotency"))
		verdict("bad", "Degraded", "Events are accepted and wait on disk. " + text);
	else if (lost.length > 0) // the ledger finds duplicates too
		verdict("warn", "Degraded", "Nothing is lost: duplicates cost more work. " + text);
	else if (inbox.oldestSeconds > 60)
		verdict("warn", "Behind", text);
	else if (dead > 0)
		verdict("warn", dead === 1 ? "A dead recording needs you" : "Dead recordings need you", text);
	else
		verdict("ok", "Healthy", text);
}

const tiles = new Map();

function tile(list, name, value, note, look) {
	const key = list.id + name;
	if (!tiles.has(key)) {
		const parts = {value: el("span.value"), note: el("span.note")};
		list.append(el("li", null, el("span.name", null, name), " ", parts.value, " ", parts.note));
		tiles.set(key, parts);
	}
	const parts = tiles.get(key);
	setText(parts.value, value);
	setText(parts.note, note || "");
	parts.value.className = "value " + (look || "");
}

function showTiles(health, counts) {
	const list = $("tiles");
	for (const [name, state] of Object.entries(health.dependencies || {}))
		tile(list, name, state.up ? "✓ up" : "✕ down", state.kind, state.up ? "ok-text" : "bad-text");
	const inbox = health.inbox || {};
	tile(list, "inbox", count(inbox.events), inbox.events > 0 ? "oldest " + age(inbox.oldestSeconds || 0) : "waiting events", inbox.oldestSeconds > 60 ? "warn-text" : "");
	tile(list, "pending", count(counts && counts.pending), "to do");
	tile(list, "running", count(counts && counts.running), "in flight");
	tile(list, "stored", count(counts && counts.stored), "archived");
	tile(list, "dead", count(counts && counts.dead), "given up", counts && counts.dead > 0 ? "bad-text" : "");
}

// ---- The last hour ----

const hour = {fields: [], samples: [], now: 0};
const column = name => hour.fields.indexOf(name) + 1;

function addSamples(reply) {
	const now = Date.parse(reply.now);
	const last = hour.samples.length > 0 ? hour.samples[hour.samples.length - 1][0] : -1;
	hour.fields = reply.fields;
	hour.now = now;
	// A clock that was set back: what comes now would never be newer.
	if (last > now + 60000)
		hour.samples = [];
	hour.samples = hour.samples.concat(reply.samples.filter(sample => sample[0] > last)).filter(sample => sample[0] > now - HOUR_MS - 60000);
}

// A young process has less than an hour to show: [what the plots show, between two labels], in minutes.
function span() {
	const minutes = hour.samples.length > 0 ? (hour.now - hour.samples[0][0]) / 60000 : 0;
	return [[10, 2], [20, 5], [30, 5], [60, 15]].find(([most]) => minutes <= most + .5 || most === 60).map(value => value * 60000);
}

const lastSample = () => hour.samples.length > 0 ? hour.samples[hour.samples.length - 1][0] : -1;

// What a series shows at each sample: of counters the sum over the minute before, of gauges the value.
function values(series) {
	const at = column(series.field);
	if (!series.sum)
		return hour.samples.map(sample => sample[at]);
	let first = 0, sum = 0;
	return hour.samples.map(sample => {
		sum += sample[at];
		while (hour.samples[first][0] <= sample[0] - 60000)
			sum -= hour.samples[first++][at];
		return sum / (series.divide || 1);
	});
}

function niceStep(top, most) {
	const rough = top / most, power = 10 ** Math.floor(Math.log10(rough));
	return power * [1, 2, 5, 10].find(step => step * power >= rough * .999);
}

class Chart {
	constructor(title, unit, series, format, least) {
		Object.assign(this, {title, unit, series, format, least, cursor: -1, width: 0, span: HOUR_MS, values: series.map(() => [])});
		this.at = el("span.at");
		const legend = el("p.legend");
		series.forEach((line, i) => {
			const swatch = svg("svg", {viewBox: "0 0 22 10", "aria-hidden": "true"});
			swatch.append(svg("path", {d: "M0 5H22", class: "line s" + (i + 1)}));
			line.reading = el("b", null, NONE);
			legend.append(el("span", null, swatch, line.name + " ", line.reading));
		});
		this.svg = svg("svg", {"aria-hidden": "true"});
		this.plot = el("div.plot", {tabindex: 0, role: "slider", "aria-label": title + ", " + unit + ", last hour; arrow keys move through it",
			"aria-valuemin": -60, "aria-valuemax": 0, "aria-valuenow": 0}, this.svg);
		this.node = el("figure", null, el("figcaption.head", null, el("h3", null, title + " ", el("small.muted", null, unit)), this.at), legend, this.plot);
		this.plot.addEventListener("pointermove", event => this.point(event.clientX - this.plot.getBoundingClientRect().left));
		this.plot.addEventListener("pointerleave", () => this.read(-1));
		this.plot.addEventListener("blur", () => this.read(-1));
		this.plot.addEventListener("keydown", event => this.key(event));
		new ResizeObserver(() => this.draw()).observe(this.plot);
	}

	x(ms) {
		return LEFT + (ms - hour.now + this.span) / this.span * (this.width - LEFT - 10);
	}

	draw() {
		this.width = this.plot.clientWidth;
		if (this.width === 0 || hour.now === 0)
			return;
		let tick;
		[this.span, tick] = span();
		this.values = this.series.map(values);
		const height = this.plot.clientHeight, bottom = height - 20, nodes = [];
		// Not by spreading: a function has a limit of arguments.
		let top = this.least;
		for (const list of this.values)
			for (const value of list)
				top = Math.max(top, value || 0);
		const step = niceStep(top, 3);
		top = Math.ceil(top / step - .001) * step;
		const y = value => bottom - value / top * (bottom - 8);
		this.y = y;
		for (let value = 0; value <= top * 1.001; value += step)
			nodes.push(svg("path", {d: `M${LEFT} ${y(value).toFixed(1)}H${this.width - 10}`, class: "grid"}),
				svg("text", {x: LEFT - 6, y: (y(value) + 4).toFixed(1), "text-anchor": "end"}, this.format(value)));
		for (let ms = Math.ceil((hour.now - this.span) / tick) * tick; ms <= hour.now; ms += tick)
			if (this.x(ms) > LEFT + 10 && this.x(ms) < this.width - 16)
				nodes.push(svg("path", {d: `M${this.x(ms).toFixed(1)} 8V${bottom}`, class: "grid"}),
					svg("text", {x: this.x(ms).toFixed(1), y: height - 5, "text-anchor": "middle"}, minutes.format(ms)));
		this.values.forEach((list, i) => {
			let path = "", before = -Infinity;
			list.forEach((value, at) => {
				const ms = hour.samples[at][0];
				if (value === null || this.x(ms) < LEFT)
					return;
				path += (ms - before > GAP_MS ? "M" : "L") + this.x(ms).toFixed(1) + " " + y(value).toFixed(1);
				before = ms;
			});
			nodes.push(svg("path", {d: path, class: "line s" + (i + 1)}));
		});
		this.over = svg("g", {});
		this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
		this.svg.replaceChildren(...nodes, this.over);
		this.read(this.cursor);
	}

	// Shows the values at a moment (ms), or the latest ones for -1.
	read(ms) {
		this.cursor = ms;
		let at = hour.samples.length - 1;
		if (ms !== -1)
			while (at > 0 && Math.abs(hour.samples[at - 1][0] - ms) <= Math.abs(hour.samples[at][0] - ms))
				at--;
		if (at < 0 || this.over === undefined) {
			setText(this.at, "no samples yet");
			this.plot.setAttribute("aria-valuetext", "no samples yet");
			return;
		}
		const when = hour.samples[at][0], marks = [], said = [];
		if (ms !== -1)
			marks.push(svg("path", {d: `M${this.x(when).toFixed(1)} 8V${this.plot.clientHeight - 20}`, class: "cursor"}));
		this.series.forEach((line, i) => {
			const value = this.values[i][at];
			setText(line.reading, value === null || value === undefined ? NONE : this.format(value));
			said.push(line.name + " " + line.reading.textContent);
			if (ms !== -1 && typeof value === "number")
				marks.push(svg("circle", {cx: this.x(when).toFixed(1), cy: this.y(value).toFixed(1), r: 3.5, class: "dot f" + (i + 1)}));
		});
		this.over.replaceChildren(...marks);
		setText(this.at, clock.format(when));
		this.plot.setAttribute("aria-valuenow", Math.round((when - hour.now) / 60000));
		this.plot.setAttribute("aria-valuetext", clock.format(when) + ": " + said.join(", "));
	}

	point(x) {
		this.read(hour.now - this.span + (x - LEFT) / Math.max(1, this.width - LEFT - 10) * this.span);
	}

	key(event) {
		const steps = {ArrowLeft: -60000, ArrowDown: -60000, ArrowRight: 60000, ArrowUp: 60000, PageDown: -600000, PageUp: 600000};
		if (hour.samples.length === 0)
			return;
		const first = hour.samples[0][0], last = lastSample(), from = this.cursor === -1 ? last : this.cursor;
		let to;
		if (event.key in steps)
			to = Math.min(last, Math.max(first, from + steps[event.key]));
		else if (event.key === "Home")
			to = first;
		else if (event.key === "End")
			to = last;
		else if (event.key === "Escape" && this.cursor !== -1)
			to = -1;
		else
			return;
		event.preventDefault();
		this.read(to);
	}
}

let charts = [];

function startCharts() {
	const round = value => value < 10 && value % 1 !== 0 ? value.toFixed(1) : compact.format(value);
	charts = [
		new Chart("Flow", "per minute", [{field: "webhooks", name: "webhooks", sum: true}, {field: "archived", name: "archived", sum: true},
			{field: "failed", name: "failed", sum: true}], round, 3),
		new Chart("Backlog", "recordings and events", [{field: "inbox", name: "inbox"}, {field: "pending", name: "pending"}, {field: "running", name: "running"}], round, 3),
		new Chart("To the store", "bytes per second", [{field: "bytesOut", name: "written", sum: true, divide: 60}], bytes, 1000),
	];
	$("charts").append(...charts.map(chart => chart.node));
	$("hour-numbers").addEventListener("toggle", showNumbers);
}

function showNumbers() {
	if (!$("hour-numbers").open)
		return;
	const step = 300000, rows = [];
	for (let from = Math.floor(hour.now / step) * step; from > hour.now - HOUR_MS - step && rows.length < 13; from -= step) {
		const part = hour.samples.filter(sample => sample[0] >= from && sample[0] < from + step);
		if (part.length === 0)
			continue;
		const sum = name => part.reduce((total, sample) => total + (sample[column(name)] || 0), 0);
		const last = name => part[part.length - 1][column(name)];
		rows.push(el("tr", null, el("th", {scope: "row"}, minutes.format(from)), ...["webhooks", "archived", "failed"].map(name => el("td", null, count(sum(name)))),
			...["inbox", "pending", "running", "dead"].map(name => el("td", null, count(last(name)))), el("td", null, bytes(sum("bytesOut")))));
	}
	$("hour-rows").replaceChildren(...rows);
}

// ---- Rows of recordings ----

function badge(status) {
	return el("span.badge." + (LOOKS[status] || "muted"), null, status);
}

// A table whose rows are known by their SID: what did not change is not touched, and what is open or focused stays so.
class Rows {
	constructor(body, prefix, cells) {
		Object.assign(this, {body, prefix, cells, rows: new Map()});
		addEventListener("resize", () => this.span());
	}

	show(items) {
		const sids = new Set(items.map(item => item.sid));
		for (const [sid, row] of this.rows)
			if (!sids.has(sid))
				this.remove(sid, row);
		let before = this.body.firstChild;
		for (const item of items) {
			const row = this.update(item);
			if (row.tr !== before)
				this.body.insertBefore(row.tr, before);
			if (row.detail !== null && row.tr.nextSibling !== row.detail)
				row.tr.after(row.detail);
			before = (row.detail || row.tr).nextSibling;
		}
	}

	update(item) {
		const text = JSON.stringify(item);
		let row = this.rows.get(item.sid);
		if (row === undefined) {
			row = {tr: el("tr"), detail: null, text: "", audio: null};
			row.button = el("button.expand", {type: "button", "aria-expanded": "false", "aria-controls": this.prefix + item.sid, title: item.sid, click: () => this.toggle(row)}, item.sid);
			row.tr.append(el("th", {scope: "row"}, row.button));
			this.rows.set(item.sid, row);
		}
		if (row.text === text)
			return row;
		row.item = item;
		row.text = text;
		const held = row.tr.contains(document.activeElement) && document.activeElement !== row.button;
		while (row.tr.children.length > 1)
			row.tr.lastChild.remove();
		row.tr.append(...this.cells(item, row));
		if (held)
			(row.tr.querySelector("td button") || row.button).focus();
		if (row.detail !== null)
			this.load(row);
		return row;
	}

	remove(sid, row) {
		const held = row.tr.contains(document.activeElement) || (row.detail !== null && row.detail.contains(document.activeElement));
		const next = (row.detail || row.tr).nextElementSibling || row.tr.previousElementSibling;
		this.rows.delete(sid);
		row.tr.remove();
		if (row.detail !== null)
			row.detail.remove();
		// Focus does not fall to the top of the page.
		if (held)
			((next && next.querySelector("td button, .expand")) || this.body.closest("section").querySelector("h2")).focus();
	}

	get busy() {
		return this.body.contains(document.activeElement) || [...this.rows.values()].some(row => row.detail !== null);
	}

	toggle(row) {
		const open = row.detail === null;
		row.button.setAttribute("aria-expanded", String(open));
		if (!open) {
			row.detail.remove();
			row.detail = row.audio = null;
			return;
		}
		row.left = el("div");
		row.player = el("div");
		row.right = el("div", null, el("p.muted", null, "Asking …"));
		row.detail = el("tr.detail", {id: this.prefix + row.item.sid, keydown: event => {
			if (event.key !== "Escape")
				return;
			this.toggle(row);
			row.button.focus();
		}}, el("td", null, el("div.cols", null, el("div", null, row.player, row.left), row.right)));
		row.tr.after(row.detail);
		this.span();
		this.load(row);
	}

	// Narrow pages show fewer columns, and a cell that spans more than there are makes up new ones.
	span() {
		const columns = [...this.body.parentNode.tHead.rows[0].cells].filter(cell => cell.offsetParent !== null).length;
		for (const row of this.rows.values())
			if (row.detail !== null)
				row.detail.cells[0].colSpan = columns;
	}

	async load(row) {
		try {
			const full = await ask("/api/recordings/" + row.item.sid);
			if (row.detail !== null)
				showDetail(row, full);
		} catch (error) {
			if (row.detail !== null)
				row.right.replaceChildren(el("p.error", null, "Cannot be shown: " + error.message));
		}
	}
}

function fact(name, value, mono) {
	return value === null || value === undefined || value === "" ? [] : [el("dt", null, name), el(mono ? "dd.mono" : "dd", null, value)];
}

function showDetail(row, item) {
	const actions = el("p.bar");
	if (retryable(item))
		actions.append(retryButton(item, "Retry now"));
	if (item.status === "stored")
		actions.append(el("button.danger", {type: "button", click: event => confirmDelete(item, event.currentTarget)}, "Delete …"));
	const held = row.left.contains(document.activeElement);
	row.left.replaceChildren(
		...(item.lastError ? [el("p.why", null, item.lastError)] : []),
		el("dl.facts", null,
			...fact("Recording", item.sid, true), ...fact("Call", item.callSid, true), ...fact("Conference", item.conferenceSid, true), ...fact("Account", item.accountSid, true),
			...fact("Twilio's error", item.errorCode || null),
			...fact("Started", item.startTime && time(item.startTime)), ...fact("Received", time(item.receivedAt)), ...fact("Stored", item.storedAt && time(item.storedAt)),
			...fact("Next try", item.nextAttemptAt && time(item.nextAttemptAt)), ...fact("Deleted at Twilio", item.deletedAtTwilioAt && time(item.deletedAtTwilioAt)),
			...fact("Audio", [item.contentType, item.channels && plural(item.channels, "channel", "channels"), item.duration !== null && item.duration !== undefined && duration(item.duration)].filter(Boolean).join(", ")),
			...fact("Source", item.source), ...fact("Size", item.bytes !== null && item.bytes !== undefined ? integer.format(item.bytes) + " bytes" : null),
			...fact("SHA-256", item.sha256, true), ...fact("Key", item.key, true), ...fact("URL", item.url, true)),
		actions);
	if (held)
		(row.left.querySelector("button") || row.button).focus();
	row.right.replaceChildren(el("h3", null, "What happened"), el("ol.trail", null, ...(item.events || []).map(event =>
		el("li", null, time(event.at), el("span", null, el("span.what", null, event.what), event.detail ? " " + event.detail : "")))));
	if (item.status === "stored" && row.audio === null)
		showAudio(row, item);
	else if (item.status !== "stored")
		row.player.replaceChildren();
}

function showAudio(row, item) {
	const path = "/api/recordings/" + item.sid + "/audio?as=link";
	const error = el("p.error", {role: "alert"});
	const save = el("a", {download: item.sid, hidden: true}, "Download");
	let asked = 0;
	// As Twilio encrypted it: nothing that a browser could play.
	const sealed = item.contentType === "application/octet-stream";
	const audio = el("audio", {controls: true, preload: "metadata", "aria-label": "Recording " + item.sid});
	async function link(at) {
		asked = Date.now();
		try {
			const {url} = await ask(path);
			if (!/^(https?:\/\/|\/)/.test(url))
				throw new Error("the store has no link that a browser can open");
			save.href = url;
			save.hidden = false;
			if (sealed)
				return;
			audio.src = url;
			if (at > 0)
				audio.currentTime = at;
		} catch (problem) {
			setText(error, "No audio: " + problem.message);
		}
	}
	// The link lasts minutes: when it has run out, a new one, at the same place.
	audio.addEventListener("error", () => {
		if (Date.now() - asked > 60000)
			link(audio.currentTime);
		else
			setText(error, "The audio cannot be played here.");
	});
	row.audio = audio;
	row.player.replaceChildren(sealed ? el("p", null, "Stored as Twilio encrypted it. Download it and open it with: reeld recordings decrypt") : audio,
		el("p.bar", null, save, !sealed && item.bytes <= WAVE_BYTES ? waveButton(row, audio) : null), error);
	link(0);
}

// Only on request, and of what is small and lies here: the whole file is read. 8000 Hz are enough to see who speaks when.
function waveButton(row, audio) {
	const button = el("button.small", {type: "button"}, "Show waveform");
	button.addEventListener("click", async () => {
		button.setAttribute("aria-disabled", "true");
		try {
			const file = await fetch(audio.src, {redirect: "error", signal: AbortSignal.timeout(30000)});
			if (!file.ok)
				throw new Error("status " + file.status);
			const sound = await new OfflineAudioContext(1, 1, 8000).decodeAudioData(await file.arrayBuffer());
			if (audio.isConnected) {
				audio.before(wave(sound, audio));
				audio.focus();
				button.remove();
			}
		} catch (problem) {
			notice("No waveform: " + problem.message);
			button.removeAttribute("aria-disabled");
		}
	});
	// From another origin it cannot be read.
	audio.addEventListener("loadedmetadata", () => {
		button.hidden = new URL(audio.src).origin !== location.origin;
	});
	return button;
}

// The loudest of each column, in parts of the loudest of all; a band for each channel; a click seeks.
function wave(sound, audio) {
	const width = 500, band = 36, bands = sound.numberOfChannels;
	const peaks = new Float32Array(width * bands);
	for (let channel = 0; channel < bands; channel++) {
		const data = sound.getChannelData(channel);
		for (let i = 0; i < data.length; i++) {
			const column = channel * width + Math.floor(i / data.length * width);
			peaks[column] = Math.max(peaks[column], Math.abs(data[i]));
		}
	}
	const loudest = Math.max(.01, ...peaks);
	let path = "";
	peaks.forEach((peak, i) => {
		const half = Math.max(.5, peak / loudest * (band / 2 - 1)), middle = band * (Math.floor(i / width) + .5);
		path += `M${i % width + .5} ${(middle - half).toFixed(1)}V${(middle + half).toFixed(1)}`;
	});
	const played = svg("rect", {x: 0, y: 0, width: 0, height: band * bands, class: "played"});
	const picture = svg("svg", {viewBox: `0 0 ${width} ${band * bands}`, preserveAspectRatio: "none", role: "img", class: "wave",
		"aria-label": "Waveform, " + plural(bands, "channel", "channels") + ", " + duration(sound.duration)});
	picture.append(played, svg("path", {d: path}));
	const follow = () => played.setAttribute("width", (audio.currentTime / audio.duration * width || 0).toFixed(1));
	audio.addEventListener("timeupdate", follow);
	follow();
	picture.addEventListener("click", event => {
		const box = picture.getBoundingClientRect();
		audio.currentTime = (event.clientX - box.left) / box.width * audio.duration;
	});
	return picture;
}

function retryButton(item, label) {
	const button = el("button.small", {type: "button", "aria-label": label + ": " + item.sid}, label);
	button.addEventListener("click", async () => {
		if (button.getAttribute("aria-disabled") === "true")
			return;
		button.setAttribute("aria-disabled", "true"); // keeps the focus, as disabled would not
		try {
			await ask("/api/recordings/" + item.sid + "/retry", "POST");
			notice("Put back: " + item.sid);
			poll.lists();
		} catch (error) {
			notice("Not put back: " + error.message);
			button.removeAttribute("aria-disabled");
		}
	});
	return button;
}

// A step is a request of its own: the ledger serves others in between, and what was put back stays so when the next step fails.
async function retryAll() {
	const button = $("retry-all");
	let done = 0, cursor = "";
	if (button.getAttribute("aria-disabled") === "true")
		return;
	button.setAttribute("aria-disabled", "true");
	try {
		do {
			const step = await ask("/api/recordings/retry?" + new URLSearchParams({status: "dead", cursor}), "POST");
			done += step.retried;
			cursor = step.nextCursor;
			setText(button, "Putting back … " + count(done));
		} while (cursor !== null);
		notice("Put back: " + plural(done, "recording", "recordings"));
	} catch (error) {
		notice("Put back: " + count(done) + ", then: " + error.message);
	}
	setText(button, "Retry all");
	button.removeAttribute("aria-disabled");
	poll.lists();
}

function startRetryAll() {
	$("retry-all").addEventListener("click", () => {
		if ($("retry-all").getAttribute("aria-disabled") === "true")
			return;
		$("retry-dialog").showModal();
		$("retry-cancel").focus();
	});
	$("retry-cancel").addEventListener("click", () => $("retry-dialog").close());
	$("retry-confirm").addEventListener("click", () => {
		$("retry-dialog").close(); // which gives the focus back to the button
		retryAll();
	});
}

let deleting = null;

function confirmDelete(item, opener) {
	deleting = {item, opener};
	setText($("delete-text"), item.sid + (item.bytes ? ", " + bytes(item.bytes) : "") + ". The audio is removed from the store for good; the ledger keeps what happened.");
	$("delete-dialog").showModal();
	$("delete-cancel").focus();
}

function startDelete() {
	$("delete-cancel").addEventListener("click", () => $("delete-dialog").close());
	$("delete-confirm").addEventListener("click", async () => {
		const {item} = deleting;
		$("delete-dialog").close();
		try {
			await ask("/api/recordings/" + item.sid, "DELETE");
			notice("Deleted: " + item.sid);
			poll.lists();
		} catch (error) {
			notice("Not deleted: " + error.message);
		}
	});
}

// ---- The two lists ----

let deadRows, listRows;
const paging = {cursors: [null], next: null, newest: null};

function startLists() {
	deadRows = new Rows($("dead-rows"), "dead-", (item, row) => {
		row.tr.className = "dead-row";
		return [el("td.time", null, time(item.receivedAt)), el("td.num.wide", null, count(item.attempts)), el("td.reason", {title: item.lastError}, item.lastError || NONE),
			el("td", null, retryButton(item, "Retry"))];
	});
	listRows = new Rows($("list-rows"), "row-", item => [
		el("td", null, badge(item.status)), el("td.time", null, time(item.receivedAt)), el("td.mono.wide", {title: item.callSid || item.conferenceSid}, item.callSid || item.conferenceSid || NONE),
		el("td.num.wide", null, duration(item.duration)), el("td.num.wide", null, bytes(item.bytes)), el("td.num.wide", null, count(item.attempts)),
		el("td.wide", {title: item.lastError}, item.lastError || "")]);
	$("status").append(el("option", {value: ""}, "all"), ...STATUSES.map(status => el("option", {value: status}, status)));
	$("status").addEventListener("change", () => search());
	$("filter").addEventListener("submit", event => {
		event.preventDefault();
		search();
	});
	$("search").addEventListener("search", () => search()); // the cross in the field
	$("older").addEventListener("click", () => turn([...paging.cursors, paging.next]));
	$("newer").addEventListener("click", () => turn(paging.cursors.slice(0, -1)));
	$("newest").addEventListener("click", () => turn([null]));
	$("fresh").addEventListener("click", () => {
		turn([null]);
		$("recordings-title").focus();
	});
}

function search() {
	const wanted = $("search").value.trim();
	const wrong = wanted !== "" && !/^(RE|CA|CF)[0-9a-f]{32}$/i.test(wanted);
	setText($("search-error"), wrong ? "A whole SID is wanted: RE, CA or CF and 32 hex digits." : "");
	if (wrong)
		$("search").setAttribute("aria-invalid", "true");
	else
		$("search").removeAttribute("aria-invalid");
	if (!wrong)
		turn([null]);
}

let listAsked = 0;

async function turn(cursors) {
	const mine = ++listAsked;
	const query = new URLSearchParams({limit: PAGE_SIZE});
	if ($("status").value !== "")
		query.set("status", $("status").value);
	if ($("search").value.trim() !== "")
		query.set("q", $("search").value.trim());
	const cursor = cursors[cursors.length - 1];
	if (cursor !== null)
		query.set("cursor", cursor);
	try {
		const page = await ask("/api/recordings?" + query);
		if (mine !== listAsked) // something else was asked for meanwhile
			return;
		paging.cursors = cursors;
		showList(page, $("status").value !== "" || $("search").value.trim() !== "");
	} catch (error) {
		if (mine === listAsked && error.status !== 401)
			notice("Recordings: " + error.message);
	}
}

function showList(page, filtered) {
	paging.next = page.nextCursor;
	listRows.show(page.recordings);
	$("list").hidden = page.recordings.length === 0;
	$("list-none").hidden = page.recordings.length > 0;
	setText($("list-none"), filtered ? "None matches." : "No recordings yet.");
	setText($("page-number"), "Page " + paging.cursors.length);
	$("older").disabled = !page.nextCursor;
	$("newer").disabled = $("newest").disabled = paging.cursors.length < 2;
	$("fresh").hidden = true;
}

// The first page follows by itself, but does not move under somebody's hands: then it only says that there is more.
async function followList() {
	if (paging.cursors.length > 1 || $("search").value.trim() !== "")
		return;
	if (!listRows.busy && !$("filter").contains(document.activeElement)) {
		await turn([null]);
		return;
	}
	const mine = ++listAsked, status = $("status").value;
	const page = await ask("/api/recordings?" + new URLSearchParams({limit: PAGE_SIZE, ...(status === "" ? {} : {status})}));
	if (mine !== listAsked)
		return;
	for (const item of page.recordings)
		if (listRows.rows.has(item.sid))
			listRows.update(item);
	$("fresh").hidden = !page.recordings.some(item => !listRows.rows.has(item.sid));
}

async function loadDead(total) {
	const page = await ask("/api/recordings?" + new URLSearchParams({status: "dead", limit: DEAD_SIZE}));
	const items = page.recordings;
	deadRows.show(items);
	if (items.length < 2 && document.activeElement === $("retry-all"))
		$("dead-title").focus();
	$("retry-all").hidden = items.length < 2;
	setText($("dead-count"), items.length === 0 ? "" : "(" + (page.nextCursor ? total > items.length ? count(total) : items.length + " or more" : count(items.length)) + ")");
	$("dead-table").hidden = items.length === 0;
	$("dead-none").hidden = items.length > 0;
	$("dead-more").hidden = !page.nextCursor;
	setText($("dead-more"), "The newest " + DEAD_SIZE + " are shown; the list below, with status dead, has all of them.");
}

// ---- Calls ----

async function loadStats() {
	const stats = await ask("/api/stats");
	const list = $("calls-tiles");
	tile(list, "calls", count(stats.totalCalls));
	tile(list, "total length", duration(stats.totalDuration), "h:mm:ss");
	tile(list, "average length", duration(stats.averageDuration), "m:ss");
	for (const [status, number] of Object.entries(stats.callsByStatus || {}))
		tile(list, status.toLowerCase().replace("_", " "), count(number));
	const days = stats.callsByDay || [];
	const most = Math.max(1, ...days.map(day => day.count));
	const chart = svg("svg", {viewBox: "0 0 600 100", preserveAspectRatio: "none", role: "img",
		"aria-label": "Calls per day, last 30 days: " + count(days.reduce((sum, day) => sum + day.count, 0)) + " in all, at most " + count(most) + " a day"});
	days.forEach((day, i) => {
		const height = day.count / most * 92, bar = svg("rect", {x: 600 / days.length * i + 2, y: 100 - height, width: Math.max(1, 600 / days.length - 4), height});
		bar.append(svg("title", {}, day.date + ": " + count(day.count)));
		chart.append(bar);
	});
	const label = day => dayName.format(new Date(day.date + "T12:00:00Z"));
	$("days").replaceChildren(el("div.head", null, el("h3", null, "Calls per day"), el("span.muted", null, "at most " + count(most) + ", 30 days, UTC")), chart,
		el("p.muted", null, ...(days.length > 1 ? [el("span", null, label(days[0])), el("span", null, label(days[days.length - 1]))] : [])));
	$("day-rows").replaceChildren(...days.slice().reverse().map(day => el("tr", null, el("th", {scope: "row"}, day.date), el("td", null, count(day.count)))));
	$("calls").hidden = false;
}

// ---- The clockwork: one request every five seconds, while somebody looks ----

const poll = {
	timer: 0, running: false, paused: false, again: false, lostAt: 0, heardAt: 0, changes: "", deadSeen: "", statsAt: 0, listAt: 0, needLists: true,

	schedule() {
		clearTimeout(this.timer);
		if (!this.paused && !locked && document.visibilityState === "visible")
			this.timer = setTimeout(() => this.now(), POLL_MS);
	},

	lists() {
		this.needLists = true;
		this.now();
	},

	async now() {
		clearTimeout(this.timer);
		if (this.running) {
			this.again = true;
			return;
		}
		this.running = true;
		try {
			await this.round();
		} catch (error) {
			this.lost(error);
		}
		this.running = false;
		if (this.again && !locked) {
			this.again = false;
			this.now();
		} else {
			this.schedule();
		}
	},

	async round() {
		const since = lastSample();
		const reply = await ask("/api/history" + (since >= 0 && since <= Date.now() + 60000 ? "?since=" + since : ""));
		this.found();
		addSamples(reply);
		judge(reply.health, reply.counts);
		showTiles(reply.health, reply.counts);
		setText($("version"), reply.version || "");
		setText($("updated"), "Updated " + clock.format(new Date()));
		charts.forEach(chart => chart.draw());
		showNumbers();
		await this.follow(reply);
	},

	// What is expensive is asked for only when something has changed, or it is a minute old.
	async follow(reply) {
		const now = Date.now(), at = column("webhooks"), done = column("archived");
		const moved = reply.samples.some(sample => sample[at] > 0 || sample[done] > 0);
		const changes = JSON.stringify(reply.counts);
		if (this.needLists || moved || changes !== this.changes || now - this.listAt > STATS_MS) {
			this.needLists = false;
			this.changes = changes;
			this.listAt = now;
			await loadDead(reply.counts && reply.counts.dead);
			await followList();
		}
		if (now - this.statsAt > STATS_MS) {
			this.statsAt = now;
			await loadStats().catch(error => {
				if (!(error instanceof Refused) || error.status === 401)
					throw error;
			});
		}
	},

	found() {
		this.heardAt = Date.now();
		showTokenButton();
		if (this.lostAt === 0)
			return;
		this.lostAt = 0;
		this.needLists = true;
		document.body.classList.remove("stale");
	},

	lost(error) {
		if (error.status === 401)
			return;
		if (this.lostAt === 0)
			this.lostAt = Date.now();
		document.body.classList.add("stale");
		const since = this.heardAt === 0 ? "" : " What is shown is from " + clock.format(this.heardAt) + ".";
		verdict("bad", error instanceof Refused ? "reeld answers with an error" : "reeld does not answer",
			(error instanceof Refused ? error.message + "." : "") + since + " Trying again every " + POLL_MS / 1000 + " s.");
	},
};

function startPolling() {
	document.addEventListener("visibilitychange", () => {
		if (document.visibilityState === "visible" && !poll.paused && !locked)
			poll.now();
	});
	$("pause").addEventListener("click", () => {
		poll.paused = !poll.paused;
		$("pause").setAttribute("aria-pressed", String(poll.paused));
		if (poll.paused)
			clearTimeout(poll.timer);
		else
			poll.now();
	});
	poll.now();
}

document.addEventListener("DOMContentLoaded", () => {
	$("theme").value = document.documentElement.dataset.theme || "";
	$("theme").addEventListener("change", () => {
		setTheme($("theme").value);
		kept("reeld-theme", $("theme").value);
	});
	setText($("zone"), Intl.DateTimeFormat().resolvedOptions().timeZone || "this machine's zone");
	startToken();
	startDelete();
	startRetryAll();
	startCharts();
	startLists();
	startPolling();
});
