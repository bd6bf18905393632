# SPDX-License-Identifier: MIT
"""The page of the private listener in a real browser, against the real binary with recordings in a directory."""
import sqlite3

import pytest
from browserlib import CONTRAST, STRUCTURE, Browser
from reeldlib import Daemon, Oracle, Sandbox, callback_params, wait_until
from selenium.webdriver.common.keys import Keys

COUNT = 58
EVIL = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>\"'&amp; end"


@pytest.fixture(scope="module")
def browser():
    chromium = Browser()
    yield chromium
    chromium.close()


class World:
    """A daemon with stored recordings and two dead ones, for all tests of this file."""

    def __init__(self, directory):
        self.directory = directory
        self.sandbox = Sandbox(str(directory), count=COUNT + 2, size=30000)
        self.daemon = Daemon(directory, self.sandbox.url, MAX_ATTEMPTS=2).start()
        self.url = f"http://127.0.0.1:{self.daemon.admin_port}/"
        self.sandbox.deliver_all(self.daemon, **{"count": COUNT})
        self.oracle = Oracle(self.daemon, self.sandbox)
        self.oracle.adopt()
        self.oracle.settle()
        sids = sorted(set(self.oracle.recordings) - self.oracle.acknowledged)
        assert len(sids) == 2
        self.sandbox.set_faults("xml-body", fault_attempts=1000)
        for sid in sids:
            assert self.daemon.post(callback_params(self.oracle.recordings[sid])).status == 200
        wait_until(lambda: self.dead() == sids, lambda: f"two dead ones: {self.dead()}")
        self.sandbox.set_faults("")

    def dead(self):
        return sorted(row["recording_sid"] for row in self.daemon.query("SELECT recording_sid FROM recordings WHERE status = 'dead'"))

    def change(self, sql, *arguments):
        """What no peer can bring about."""
        connection = sqlite3.connect(self.daemon.data + "/ledger.db", timeout=20)
        with connection:
            connection.execute(sql, arguments)
        connection.close()

    def end(self):
        self.daemon.kill()
        self.sandbox.kill()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("page"))
    yield made
    made.end()


@pytest.fixture
def page(world, browser):
    """Opened, with everything on it."""
    browser.open(world.url)
    browser.js("sessionStorage.clear(); localStorage.clear()")
    browser.wait("document.querySelectorAll('#list-rows > tr').length === 50 && !document.getElementById('calls').hidden")
    return browser


def open_row(page, selector):
    page.js("document.querySelector(arguments[0]).click()", selector + " .expand")
    page.wait(f"document.querySelector('{selector.split(' ')[0]} .trail li') !== null")


def test_it_shows_what_is_there_and_asks_nobody_else(world, page):
    page.wait("document.getElementById('dead-rows').rows.length === 2")
    page.wait("document.getElementById('verdict').innerText.includes('2 dead')")  # counted with the next sample
    assert "Dead recordings need you" in page.text("#verdict"), page.text("#verdict")
    tiles = page.text("#tiles")
    assert "ledger" in tiles and "sqlite" in tiles and "✓ up" in tiles and str(COUNT) in tiles, tiles
    assert all(sid in page.text("#dead-rows") for sid in world.dead())
    assert page.log() == []
    urls = page.requests()
    assert len(urls) >= 6 and all(url.startswith((world.url, "data:")) for url in urls), urls
    assert page.value("performance.getEntriesByType('resource').every(entry => new URL(entry.name).origin === location.origin)")
    page.shot("light")


def test_a_recording_can_be_heard_and_sought_in(page):
    page.js("document.querySelector('#list-rows .ok-text').closest('tr').querySelector('.expand').click()")
    page.wait("document.querySelector('#list-rows audio') !== null && document.querySelector('#list-rows audio').readyState >= 2")
    page.wait("document.querySelector('#list-rows .trail li') !== null")
    assert "stored" in page.text("#list-rows .trail") and "SHA-256" in page.text("#list-rows .facts")
    page.js("window.audio = document.querySelector('#list-rows audio'); audio.addEventListener('seeked', () => { window.sought = audio.currentTime })")
    assert page.value("audio.duration") > 0.5
    page.js("audio.currentTime = audio.duration / 2")
    page.wait("window.sought > 0 && Math.abs(window.sought - audio.duration / 2) < 0.05 && audio.error === null")
    page.js("document.querySelector('#list-rows tr.detail button').click()")
    page.wait("document.querySelector('#list-rows .wave') !== null && Number(document.querySelector('#list-rows .played').getAttribute('width')) > 100")
    page.js("const wave = document.querySelector('.wave'), box = wave.getBoundingClientRect(); wave.dispatchEvent(new MouseEvent('click', {clientX: box.left + box.width / 4}))")
    page.wait("Math.abs(window.sought - audio.duration / 4) < 0.05")
    page.shot("audio")
    page.js("document.querySelector('#list-rows tr.detail').dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))")
    page.wait("document.querySelector('#list-rows tr.detail') === null && document.activeElement.matches('#list-rows .expand[aria-expanded=false]')")
    assert page.log() == []


def test_what_is_stored_encrypted_is_not_played(world, page):
    stored = "document.querySelector('#list-rows tr:has(.ok-text) .expand')"
    sid = page.value(stored + ".title")
    world.change("UPDATE recordings SET content_type = 'application/octet-stream' WHERE recording_sid = ?", sid)
    page.js(stored + ".click()")
    page.wait("document.querySelector('#list-rows tr.detail a[download]:not([hidden])') !== null")
    assert "reeld recordings decrypt" in page.text("#list-rows tr.detail")
    assert page.value("document.querySelector('#list-rows audio') === null")
    world.change("UPDATE recordings SET content_type = 'audio/wav' WHERE recording_sid = ?", sid)
    assert page.log() == []


def test_nothing_from_the_data_becomes_markup(world, page):
    sid = world.dead()[0]
    world.change("UPDATE recordings SET last_error = ?, source = ? WHERE recording_sid = ?", EVIL, "<b>source</b>", sid)
    world.change("UPDATE recording_events SET detail = ? WHERE recording_id = (SELECT id FROM recordings WHERE recording_sid = ?)", EVIL, sid)
    page.js("poll.lists()")
    page.wait("document.getElementById('dead-rows').innerText.includes('window.pwned')")
    page.js("document.querySelector(`#dead-rows .expand[title='${arguments[0]}']`).click()", sid)
    page.wait("document.querySelector('#dead-rows .trail li') !== null")
    for selector in ("#dead-rows .reason[title*=pwned]", "#dead-rows .why", "#dead-rows .trail li span + *, #dead-rows .trail li"):
        assert page.js("return [...document.querySelectorAll(arguments[0])].some(node => node.textContent.includes(arguments[1]))", selector, EVIL), selector
    assert page.value("window.pwned === undefined && document.querySelectorAll('main script, main img, main b:not(.legend b)').length === 0")
    assert page.log() == []
    page.shot("dead")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_read(page, theme):
    page.theme(theme)
    page.js("document.querySelector('#list-rows .ok-text').closest('tr').querySelector('.expand').click(); document.querySelector('#dead-rows .expand').click()")
    page.wait("document.querySelectorAll('.trail li').length > 3 && document.getAnimations().length === 0")
    seen, bad = page.js(CONTRAST)
    assert seen > 300 and bad == []
    page.shot("colours-" + theme)
    assert page.value("getComputedStyle(document.body).backgroundColor") == {"light": "rgb(244, 246, 248)", "dark": "rgb(15, 19, 24)"}[theme]


def test_the_theme_can_be_chosen_and_is_kept(world, page):
    page.js("const select = document.getElementById('theme'); select.value = 'dark'; select.dispatchEvent(new Event('change'))")
    page.wait("getComputedStyle(document.body).backgroundColor === 'rgb(15, 19, 24)'")
    page.driver.refresh()
    page.wait("getComputedStyle(document.body).backgroundColor === 'rgb(15, 19, 24)' && document.getElementById('theme').value === 'dark'")
    page.theme("dark")
    page.js("const select = document.getElementById('theme'); select.value = 'light'; select.dispatchEvent(new Event('change'))")
    page.wait("getComputedStyle(document.body).backgroundColor === 'rgb(244, 246, 248)'")


@pytest.mark.parametrize("width,height,scale", [(360, 740, 1), (640, 500, 2)])
def test_it_fits_a_phone_and_double_zoom(page, width, height, scale):
    page.js("document.querySelector('#list-rows .ok-text').closest('tr').querySelector('.expand').click(); document.querySelector('#dead-rows .expand').click()")
    page.js("document.querySelectorAll('details').forEach(node => { node.open = true })")
    page.wait("document.querySelectorAll('.trail li').length > 3")
    page.size(width, height, scale)
    page.wait(f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")
    beyond = page.value("""[...document.querySelectorAll('main *, header *')].filter(node => !node.closest('.scroll, .hidden, svg, audio') && node.checkVisibility() &&
        node.getBoundingClientRect().right > innerWidth + 1).map(node => node.outerHTML.slice(0, 100))""")
    assert beyond == []
    page.shot(f"narrow-{width}")


def test_a_screen_reader_finds_its_way(page):
    page.js("document.querySelector('#list-rows .ok-text').closest('tr').querySelector('.expand').click(); document.querySelectorAll('details').forEach(node => { node.open = true })")
    page.wait("document.querySelector('#list-rows audio') !== null && document.querySelectorAll('.trail li').length > 1")
    assert page.js(STRUCTURE) == []
    tree = page.accessibility()
    roles = [role for role, _ in tree]
    assert all(roles.count(role) == 1 for role in ("banner", "main", "contentinfo", "navigation")), roles
    assert len([name for role, name in tree if role == "slider" and "last hour" in name]) == 3 and roles.count("region") >= 5 and roles.count("table") >= 4
    assert page.nameless() == []
    assert page.js("document.querySelector('.plot').focus(); return true")
    page.press(Keys.HOME)
    first = page.value("document.activeElement.getAttribute('aria-valuetext')")
    assert "webhooks" in first and "archived" in first, first
    # What is said aloud is not said with every number that changes.
    assert page.value("document.querySelectorAll('[aria-live], [role=status], [role=alert]').length") <= 4
    assert page.value("document.querySelector('#verdict').closest('[aria-live], [role=status]')") is None


def test_a_dead_one_is_put_back_by_keyboard_alone(world, page):
    before = world.dead()
    page.press(Keys.TAB)
    assert page.value("document.activeElement.className") == "skip"
    page.tab_to("node.matches('#dead-rows td button')")
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    sid = page.value("document.activeElement.closest('tr').querySelector('.expand').title")
    page.press(Keys.ENTER)
    page.wait("document.getElementById('dead-rows').rows.length === 1")
    page.wait("document.activeElement !== document.body && document.activeElement.closest('#dead-rows') !== null")
    # A poll of the list may take the row away before the request's own answer is there.
    page.wait(f"document.getElementById('notice').textContent.includes('Put back: {sid}')")
    wait_until(lambda: world.daemon.recording(sid)["status"] == "stored", lambda: f"it to be stored: {world.daemon.recording(sid)}")
    assert [other for other in before if other != sid] == world.dead()
    assert page.log() == []


def test_every_control_is_reached_and_left_by_tab(page):
    page.js("const select = document.getElementById('status'); select.value = 'dead'; select.dispatchEvent(new Event('change'))")
    page.wait("document.getElementById('list-rows').rows.length < 3")
    seen = []
    for _ in range(60):
        page.press(Keys.TAB)
        seen.append(page.value("document.activeElement === document.body ? '' : document.activeElement.id || document.activeElement.textContent.slice(0, 40)"))
        if seen[-1] == "":
            break
    wanted = page.value("[...document.querySelectorAll('button:enabled, select, input, .plot, summary, a')].filter(node => node.checkVisibility()).map(node => node.id || node.textContent.slice(0, 40))")
    assert [name for name in wanted if name not in seen] == []
    order = [name for name in seen if name in ("pause", "theme", "status", "search")]
    assert order == ["pause", "theme", "status", "search"] and seen[-1] == ""


def test_filter_search_and_pages(world, page):
    assert page.text("#page-number") == "Page 1"
    first = page.value("document.querySelector('#list-rows .expand').title")
    page.js("document.getElementById('older').click()")
    page.wait(f"document.getElementById('list-rows').rows.length === {COUNT + 2 - 50}")
    assert page.text("#page-number") == "Page 2" and page.value("document.getElementById('older').disabled")
    page.js("document.getElementById('newer').click()")
    page.wait(f"document.querySelector('#list-rows .expand').title === '{first}'")
    page.js("const select = document.getElementById('status'); select.value = 'absent'; select.dispatchEvent(new Event('change'))")
    page.wait("document.getElementById('list-none').innerText === 'None matches.'")
    page.js("const select = document.getElementById('status'); select.value = ''; select.dispatchEvent(new Event('change'))")
    call = next(iter(world.oracle.recordings.values()))["call_sid"]
    page.js("document.getElementById('search').focus()")
    page.press(call[:20], Keys.ENTER)
    page.wait("document.getElementById('search-error').innerText.includes('whole SID') && document.getElementById('search').getAttribute('aria-invalid') === 'true'")
    page.press(call[20:], Keys.ENTER)
    page.wait("document.getElementById('list-rows').rows.length === 1")
    assert page.value("document.querySelector('#list-rows .mono').textContent") == call
    assert page.value("document.getElementById('search-error').innerText") == ""
    assert page.log() == []


def test_deleting_asks_first(world, page):
    page.js("document.querySelector('#list-rows .ok-text').closest('tr').querySelector('.expand').click()")
    page.wait("document.querySelector('#list-rows .danger') !== null")
    sid = page.value("document.querySelector('#list-rows tr.detail').previousSibling.querySelector('.expand').title")
    page.js("const button = document.querySelector('#list-rows .danger'); button.focus(); button.click()")
    page.wait("document.getElementById('delete-dialog').open && document.activeElement.id === 'delete-cancel'")
    assert sid in page.text("#delete-dialog")
    page.press(Keys.ESCAPE)
    page.wait("!document.getElementById('delete-dialog').open && document.activeElement.matches('.danger')")
    assert world.daemon.recording(sid)["status"] == "stored"
    page.press(Keys.ENTER)
    page.wait("document.getElementById('delete-dialog').open")
    page.press(Keys.TAB, Keys.ENTER)
    wait_until(lambda: world.daemon.recording(sid)["status"] == "deleted", lambda: f"it to be deleted: {world.daemon.recording(sid)}")
    page.wait(f"document.querySelector('#list-rows .expand[title={sid}]').closest('tr').querySelector('.badge').textContent === 'deleted'")
    page.wait("document.querySelector('#list-rows audio') === null")
    assert not [name for name in world.daemon.files() if sid in name]
    assert page.log() == []


def test_all_dead_ones_are_put_back_after_asking_by_keyboard_alone(world, page):
    world.sandbox.set_faults("xml-body", fault_attempts=1000)
    assert world.sandbox.deliver(f"?count=5&target={world.daemon.url}/api/twilio/recording").status == 202
    wait_until(lambda: len(world.dead()) >= 5 and not world.daemon.query("SELECT 1 FROM recordings WHERE status IN ('pending', 'running')"),
               lambda: f"five dead ones: {world.dead()}")
    dead = world.dead()
    page.js("poll.lists()")
    page.wait(f"document.getElementById('dead-rows').rows.length === {len(dead)} && !document.getElementById('retry-all').hidden")
    page.js("document.getElementById('dead-title').focus()")
    page.press(Keys.TAB)
    assert page.value("document.activeElement.id") == "retry-all"
    for leave in ([Keys.ESCAPE], [Keys.ENTER]):  # Cancel has the focus
        page.press(Keys.ENTER)
        page.wait("document.getElementById('retry-dialog').open && document.activeElement.id === 'retry-cancel'")
        page.press(*leave)
        page.wait("!document.getElementById('retry-dialog').open && document.activeElement.id === 'retry-all'")
    assert world.dead() == dead, "asking has changed something"
    page.press(Keys.ENTER)
    page.wait("document.getElementById('retry-dialog').open")
    assert page.nameless() == []
    dialog = [name for role, name in page.accessibility() if role == "dialog"]
    assert dialog == ["Retry all dead recordings?"], dialog
    for theme in ("light", "dark"):
        page.theme(theme)
        page.wait("document.getAnimations().length === 0")
        assert page.js(CONTRAST)[1] == []
        page.shot("retry-all-" + theme)
    # In steps of two, so that there are several.
    page.js("window.said = []; const line = document.getElementById('notice'); "
            "new MutationObserver(() => window.said.push(line.textContent)).observe(line, {childList: true})")
    page.js("window.steps = []; const real = window.fetch; window.fetch = (path, options) => { "
            "if (path.includes('/recordings/retry?')) { path += '&limit=2'; window.steps.push(path); } return real(path, options); }")
    world.sandbox.set_faults("")
    page.press(Keys.TAB, Keys.ENTER)
    page.wait(f"window.said.includes('Put back: {len(dead)} recordings')")  # the next may be that all is healthy
    assert page.value("window.steps.length") == len(dead) // 2 + 1
    wait_until(lambda: world.dead() == [], lambda: f"none to be dead: {world.dead()}")
    page.wait("document.getElementById('retry-all').hidden && document.activeElement.id === 'dead-title'")
    trails = world.daemon.query("SELECT r.recording_sid FROM recordings r JOIN recording_events e ON e.recording_id = r.id WHERE e.what = 'requeued' AND e.detail = 'by api'")
    assert {row["recording_sid"] for row in trails} >= set(dead)
    assert page.log() == []


def test_it_rests_while_nobody_looks_or_it_is_paused(page):
    page.js("""window.planned = 0; const real = window.setTimeout;
        window.setTimeout = (what, ms) => { if (ms === POLL_MS) window.planned++; return real(what, ms); };
        Object.defineProperty(document, 'visibilityState', {get: () => window.seen ? 'visible' : 'hidden', configurable: true});""")
    rounds = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/api/history')).length"
    page.wait("!poll.running")
    before = page.value(rounds)
    page.driver.execute_async_script("poll.now().then(arguments[0])")
    assert page.value("window.planned") == 0 and page.value(rounds) == before + 1
    page.js("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait(f"{rounds} === {before + 2} && window.planned === 1")
    page.js("document.getElementById('pause').click()")
    page.driver.execute_async_script("poll.now().then(arguments[0])")
    assert page.value("window.planned") == 1 and page.value("document.getElementById('pause').getAttribute('aria-pressed')") == "true"


def test_what_is_shown_is_marked_when_the_server_is_gone_and_comes_back(world, page):
    tops = "[...document.querySelectorAll('main > section:not([hidden])')].slice(0, 4).map(node => node.offsetTop)"
    before = page.value(tops)
    assert world.daemon.stop() == 0
    page.wait("document.body.classList.contains('stale') && document.getElementById('verdict-title').textContent === 'reeld does not answer'")
    assert page.text("#notice") == "Health: reeld does not answer" and "What is shown is from" in page.text("#verdict")
    assert page.value(tops) == before, "the page jumped"
    assert page.value("document.querySelectorAll('#list-rows > tr').length") == 50
    page.shot("gone")
    world.daemon.start()
    page.wait("!document.body.classList.contains('stale') && document.getElementById('verdict').className !== 'verdict bad'")
    assert all("ERR_CONNECTION_REFUSED" in line or "ERR_CONNECTION_RESET" in line or "ERR_EMPTY_RESPONSE" in line for line in page.log())


def test_the_token_is_asked_for(world, browser, tmp_path):
    reeld = Daemon(tmp_path, ADMIN_TOKEN="correct-horse").start()
    try:
        browser.open(f"http://127.0.0.1:{reeld.admin_port}/")
        browser.wait("document.getElementById('token-dialog').open && document.activeElement.id === 'token'")
        browser.shot("token")
        assert browser.nameless() == [] and browser.value("document.getElementById('token').type") == "password"
        browser.press(Keys.ESCAPE)
        browser.wait("!document.getElementById('token-dialog').open && document.getElementById('verdict-title').textContent === 'Locked'")
        browser.js("document.getElementById('token-button').click()")
        browser.press("wrong", Keys.ENTER)
        browser.wait("document.getElementById('token-dialog').open && document.getElementById('token-error').textContent === 'This token was not accepted.'")
        browser.press("correct-horse", Keys.ENTER)
        browser.wait("document.getElementById('verdict-title').textContent !== 'Locked' && document.getElementById('tiles').children.length > 5")
        assert browser.value("sessionStorage.getItem('reeld-token')") == "correct-horse"
        browser.driver.refresh()
        browser.wait("document.getElementById('tiles').children.length > 5")
        assert not browser.value("document.getElementById('token-dialog').open")
        assert "correct" not in "".join(browser.requests())
        browser.js("document.getElementById('token-button').click()")
        browser.wait("document.getElementById('token-dialog') !== null && document.getElementById('token-dialog').open")
        assert browser.value("sessionStorage.getItem('reeld-token')") == ""
    finally:
        reeld.kill()


def test_audio_comes_straight_from_the_bucket(browser, sandbox, space, replica):
    """The one thing that may come from elsewhere: a signed link of the store, by the policy of the page."""
    peer = sandbox(count=1, size=30000)
    reeld = replica(space, peer).start()
    assert peer.deliver_all(reeld)["failed"] == 0
    wait_until(lambda: [row["status"] for row in reeld.query("SELECT status FROM recordings")] == ["stored"], "it to be stored")
    browser.open(f"http://127.0.0.1:{reeld.admin_port}/")
    browser.wait("document.querySelector('#list-rows .ok-text') !== null")
    browser.js("document.querySelector('#list-rows .expand').click()")
    browser.wait("document.querySelector('#list-rows audio') !== null && document.querySelector('#list-rows audio').readyState >= 2")
    assert browser.js("return new URL(document.querySelector('#list-rows audio').src).port") == str(space.swift.port)
    assert browser.value("document.querySelector('#list-rows .small').hidden"), "what is elsewhere cannot be drawn"
    assert browser.log() == []
