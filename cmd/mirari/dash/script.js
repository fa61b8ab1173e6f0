// The page of `mirari dash`. Samples come as events, one look a second; rates are differences of counters.
//
// The token stands behind the "#" of the address. It is kept for this tab only and taken out of the address bar.
// Whatever an appliance says gets into the page as text (textContent), never as markup.
"use strict";

const WINDOW_MS = 120000;
const AT = 0, UPTIME = 1, CPU = 2, USED = 3, FREE = 4, RX_BYTES = 5, TX_BYTES = 6, RX_FRAMES = 7, TX_FRAMES = 8,
    CONNECTIONS = 9;
const SVG = "http://www.w3.org/2000/svg";
const HEALTH = {
    ok: ["running", ""], new: ["running", ""], silent: ["not answering", "bad"], closed: ["no channel", "warn"]
};

const $ = id => document.getElementById(id);
const appliances = new Map(); // id -> what is known, its samples and its row
let chosen = null, role = "read-only", newest = 0;

let token = location.hash.slice(1) || sessionStorage.getItem("token") || "";
if (location.hash.length > 1) {
    sessionStorage.setItem("token", token);
    history.replaceState(null, "", location.pathname);
}

// An address with another key, written over this one, does not load the page again by itself.
addEventListener("hashchange", () => location.reload());

// ---- small things ---------------------------------------------------------------------------------

function make(name, props = {}, ...children) {
    const element = Object.assign(document.createElement(name), props);
    element.append(...children);
    return element;
}

function drawn(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes))
        element.setAttribute(key, value);
    return element;
}

function setText(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}

function scaled(value, base, units) {
    let unit = 0;
    for (; value >= base && unit + 1 < units.length; unit++)
        value /= base;
    const digits = value >= 100 || (unit === 0 && (value >= 10 || Number.isInteger(value))) ? 0 : value >= 10 ? 1 : 2;
    return `${value.toFixed(digits)} ${units[unit]}`.trim();
}

const asRate = value => scaled(value, 1000, ["", "k", "M", "G"]);
const asBytes = value => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
const asKilos = value => scaled(value, 1000, ["B", "kB", "MB", "GB"]);
const asByteRate = value => `${asKilos(value)}/s`;
const asPercent = value => `${value.toFixed(value < 10 ? 1 : 0)} %`;
const asCount = value => String(Math.round(value));
const shown = (value, format) => value === null || value === undefined ? "–" : format(value);

// As `mirari ps` writes it.
function asTime(seconds) {
    const s = Math.floor(seconds), two = n => String(n).padStart(2, "0");
    if (s < 60)
        return `${s}s`;
    if (s < 3600)
        return `${Math.floor(s / 60)}m${two(s % 60)}s`;
    if (s < 86400)
        return `${Math.floor(s / 3600)}h${two(Math.floor(s / 60) % 60)}m`;
    return `${Math.floor(s / 86400)}d${two(Math.floor(s / 3600) % 24)}h`;
}

// The next of 1, 2, 5, 10, ... (of 1024 for memory) that is not below.
function ceiling(value, least, base) {
    let unit = 1;
    while (unit * base <= value)
        unit *= base;
    for (const step of [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
        if (unit * step >= value && unit * step >= least)
            return unit * step;
    return Math.max(unit * base, least);
}

// ---- what samples say -----------------------------------------------------------------------------

function rate(now, before, field, us) {
    if (now[field] === null || before[field] === null)
        return null;
    return Math.max(0, now[field] - before[field]) * 1e6 / us;
}

// A point for every pair of samples: gauges of the later one, rates between them.
function pointOf(now, before) {
    const us = now[UPTIME] - before[UPTIME];
    if (!(us > 0))
        return null;
    const cpu = rate(now, before, CPU, us);
    return {
        at: now[AT], cpu: cpu === null ? null : cpu / 1e4, used: now[USED],
        size: now[USED] === null ? null : now[USED] + now[FREE], connections: now[CONNECTIONS],
        rxBytes: rate(now, before, RX_BYTES, us), txBytes: rate(now, before, TX_BYTES, us),
        rxFrames: rate(now, before, RX_FRAMES, us), txFrames: rate(now, before, TX_FRAMES, us)
    };
}

function takeSamples(a, samples) {
    for (const sample of samples) {
        const point = a.last ? pointOf(sample, a.last) : null;
        if (point)
            a.points.push(point);
        a.last = sample;
        newest = Math.max(newest, sample[AT]);
    }
    while (a.points.length > 0 && a.points[0].at < newest - WINDOW_MS)
        a.points.shift();
}

// All appliances together: what was sampled in one look is added up.
function sum() {
    const looks = new Map();
    for (const a of appliances.values()) {
        for (const point of a.points) {
            const total = looks.get(point.at) || { at: point.at };
            for (const [key, value] of Object.entries(point))
                if (key !== "at" && value !== null)
                    total[key] = (total[key] ?? 0) + value;
            looks.set(point.at, total);
        }
    }
    return [...looks.values()].sort((a, b) => a.at - b.at);
}

// ---- graphs ---------------------------------------------------------------------------------------

// A line from the points that are known; a gap of more than some looks is a gap.
function pathOf(points, key, max, width, height) {
    let path = "", before = -Infinity;
    for (const point of points) {
        const value = point[key];
        if (value === null || value === undefined)
            continue;
        const x = width * (1 + (point.at - newest) / WINDOW_MS);
        const y = height - 1 - (height - 3) * Math.min(1, value / max);
        path += `${point.at - before > 4000 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
        before = point.at;
    }
    return path;
}

class Graph {
    constructor(title, series, format, options = {}) {
        Object.assign(this, { title, series, format, least: 1, base: 10, ...options });
        this.lines = series.map((_, i) => drawn("path", { class: i > 0 ? "line second" : "line" }));
        this.area = drawn("path", { class: "area" });
        this.svg = drawn("svg", { viewBox: "0 0 240 84", preserveAspectRatio: "none", role: "img" });
        this.svg.append(drawn("path", { class: "grid", d: "M0 1H240M0 42H240M0 83H240" }), this.area, ...this.lines);
        this.values = series.map(() => make("b", { textContent: "–" }));
        this.max = make("span", { className: "max" });
        const now = make("div", { className: "now" });
        series.forEach(({ name }, i) => now.append(make("span", {
            className: series.length < 2 ? "plain" : i > 0 ? "second" : "first"
        }, make("i", { textContent: name }), " ", this.values[i])));
        this.figure = make("figure", {}, make("figcaption", { textContent: title }), now,
            make("div", { className: "plot" }, this.svg, this.max),
            make("div", { className: "ends" }, make("span", { textContent: "2 min ago" }),
                make("span", { textContent: "now" })));
    }

    draw(points) {
        let most = 0;
        for (const point of points)
            for (const { key } of this.series)
                most = Math.max(most, point[key] ?? 0);
        const last = points.at(-1);
        const max = this.limit && last && last[this.limit] ? last[this.limit] : ceiling(most, this.least, this.base);
        setText(this.max, this.format(max));
        const words = this.series.map(({ key, name }, i) => {
            const value = shown(last && last[key], this.format);
            this.lines[i].setAttribute("d", pathOf(points, key, max, 240, 84));
            setText(this.values[i], value);
            return `${name} ${value}`;
        });
        const line = this.lines[0].getAttribute("d");
        const parts = line.split("M").slice(1).map(part => {
            const ends = part.split("L");
            return `M${part}L${ends.at(-1).split(" ")[0]} 84L${ends[0].split(" ")[0]} 84Z`;
        });
        this.area.setAttribute("d", parts.join(""));
        this.svg.setAttribute("aria-label", `${this.title}, last two minutes; now ${words.join(", ")}`);
    }
}

const graphs = [
    new Graph("Bytes a second", [{ key: "rxBytes", name: "in" }, { key: "txBytes", name: "out" }], asKilos,
        { least: 1000 }),
    new Graph("Packets a second", [{ key: "rxFrames", name: "in" }, { key: "txFrames", name: "out" }], asRate,
        { least: 10 }),
    new Graph("CPU", [{ key: "cpu", name: "of one processor" }], asPercent, { least: 10 }),
    new Graph("Memory", [{ key: "used", name: "in use" }], asBytes, { least: 1048576, base: 1024, limit: "size" }),
    new Graph("Connections", [{ key: "connections", name: "TCP" }], asCount, { least: 5 })
];
$("graphs").append(...graphs.map(graph => graph.figure));

// ---- the table ------------------------------------------------------------------------------------

function makeRow(id) {
    const cells = Array.from({ length: 11 }, (_, i) => make("td", { className: i >= 3 && i <= 9 ? "n" : "" }));
    const button = make("button", { type: "button" });
    const line = drawn("path", { class: "line" });
    const svg = drawn("svg", { viewBox: "0 0 160 24", preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(line);
    cells[10].append(svg);
    button.addEventListener("click", () => choose(chosen === id ? null : id));
    const row = make("tr", {}, make("th", { scope: "row" }, button), ...cells);
    const state = make("span");
    cells[0].append(state);
    return { row, button, cells, state, line };
}

// Of two with one name the process tells which, of an appliance in several processes the number of the worker.
function titleOf(a) {
    const isOne = ![...appliances.values()].some(b => b.name === a.name && b.pid !== a.pid);
    return `${a.name}${isOne ? "" : ` ${a.pid}`}${a.worker === undefined ? "" : ` worker ${a.worker}`}`;
}

function fillRow(a) {
    const { row, button, cells, state, line } = a.row, point = a.points.at(-1) || {};
    const [word, mark] = a.ends ? ["ends", "warn"] : HEALTH[a.health] || ["?", "bad"];
    setText(button, titleOf(a));
    button.setAttribute("aria-pressed", String(chosen === a.id));
    row.className = chosen === a.id ? "chosen" : "";
    state.className = `dot ${mark}`;
    setText(state, word);
    cells[0].title = a.health === "silent" ? `no answer for ${asTime(a.answered_s)}` : a.ends;
    const alive = a.health === "ok" ? point : {};
    const texts = [a.target, a.address || "–", a.last ? asTime(a.last[UPTIME] / 1e6) : "–",
        a.lease_left_s === undefined ? "–" : asTime(a.lease_left_s), shown(alive.cpu, asPercent),
        shown(alive.used, asBytes), shown(alive.rxBytes, asByteRate), shown(alive.txBytes, asByteRate),
        shown(alive.connections, asCount)];
    texts.forEach((text, i) => setText(cells[i + 1], text));
    cells[2].title = a.address;
    const traffic = a.points.map(p => ({ at: p.at, both: p.rxBytes === null ? null : p.rxBytes + p.txBytes }));
    const most = traffic.reduce((max, p) => Math.max(max, p.both ?? 0), 0);
    line.setAttribute("d", pathOf(traffic, "both", Math.max(most, 1000), 160, 24));
}

function draw() {
    const a = chosen && appliances.get(chosen);
    const points = a ? a.points : sum();
    for (const graph of graphs)
        graph.draw(points);
    setText($("graphs-title"), a ? titleOf(a) : "All appliances");
    $("all").hidden = !a;
    for (const one of appliances.values())
        fillRow(one);
    $("none").hidden = appliances.size > 0;
    const pids = new Set([...appliances.values()].map(one => one.pid)).size;
    setText($("count"), pids === 1 ? "1 running appliance" : `${pids} running appliances`);
    if (a) {
        const facts = [`process ${a.pid}`, a.version && `version ${a.version}`, a.stack && `${a.stack} stack`,
            a.ends && `ends: ${a.ends}`];
        setText($("detail-title"), titleOf(a));
        setText($("facts"), facts.filter(Boolean).join(" · "));
        $("actions").hidden = role !== "full" || a.health === "closed";
    }
}

function takeEvent(event) {
    role = event.role;
    newest = Math.max(newest, event.now_ms - 1500);
    const before = new Set(appliances.keys());
    for (const told of event.appliances) {
        let a = appliances.get(told.id);
        before.delete(told.id);
        if (!a) {
            a = { points: [], last: null, row: makeRow(told.id) };
            appliances.set(told.id, a);
        }
        delete a.lease_left_s;
        const { samples, ...facts } = told;
        Object.assign(a, facts);
        takeSamples(a, samples);
    }
    for (const id of before) {
        appliances.get(id).row.row.remove();
        appliances.delete(id);
    }
    if (chosen && !appliances.has(chosen))
        choose(null);
    const sorted = [...appliances.values()].sort((a, b) =>
        a.name.localeCompare(b.name) || a.pid - b.pid || (a.worker ?? 0) - (b.worker ?? 0));
    sorted.forEach((a, i) => {
        const there = $("rows").children[i];
        if (there !== a.row.row)
            $("rows").insertBefore(a.row.row, there ?? null);
    });
    draw();
}

// ---- talking to the tool --------------------------------------------------------------------------

function ask(path, body) {
    const options = { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" };
    if (body !== undefined)
        Object.assign(options, { method: "POST", body: JSON.stringify(body) });
    return fetch(path, options);
}

async function answerOf(path, body) {
    const response = await ask(path, body);
    const answer = await response.json();
    if (!response.ok)
        throw new Error(answer.error);
    return answer;
}

function setLink(state, text) {
    $("link").className = `link ${state}`;
    setText($("link"), text);
}

async function listen() {
    const response = await ask("api/events");
    if (!response.ok) {
        const { error } = await response.json();
        throw Object.assign(new Error(error), { isFinal: response.status === 401 });
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (const a of appliances.values())
        a.row.row.remove();
    appliances.clear();
    newest = 0;
    let text = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done)
            throw new Error("mirari dash has ended");
        text += value;
        let end;
        while ((end = text.indexOf("\n\n")) >= 0) {
            const data = text.slice(0, end);
            text = text.slice(end + 2);
            if (data.startsWith("data: ")) {
                takeEvent(JSON.parse(data.slice(6)));
                setLink("live", role === "full" ? "live" : "live, read-only");
            }
        }
    }
}

async function follow() {
    for (let pause = 1000; ; pause = Math.min(2 * pause, 10000)) {
        const began = performance.now();
        try {
            await listen();
        } catch (error) {
            const lost = error instanceof TypeError ? "mirari dash does not answer" : error.message;
            setLink("lost", lost);
            if (error.isFinal)
                return;
        }
        if (performance.now() - began > 5000)
            pause = 1000;
        await new Promise(done => setTimeout(done, pause));
    }
}

// ---- one appliance --------------------------------------------------------------------------------

let turn = 0; // of showing details; an older one that is late shows nothing

function say(text, isBad = false) {
    $("said").className = isBad ? "said bad" : "said";
    setText($("said"), text);
}

function fillFlows(rows, isCut) {
    const lines = rows.map(flow => make("tr", {}, ...[
        flow.proto, flow.local, flow.kind === "listener" ? "*" : flow.remote, flow.state ?? "",
        flow.kind === "listener" ? flow.waiting : flow.recv_q ?? "",
        flow.kind === "listener" ? flow.backlog : flow.send_q ?? ""
    ].map((text, i) => make("td", { className: i > 3 ? "n" : "", textContent: String(text ?? "") }))));
    if (isCut || lines.length === 0)
        lines.push(make("tr", {}, make("td", { colSpan: 6, textContent: isCut ? "… and more" : "none" })));
    $("flows").replaceChildren(...lines);
}

function fillLog(text) {
    const box = $("log");
    const isAtEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
    const clean = text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, "");
    if (box.textContent === clean)
        return;
    box.textContent = clean;
    if (isAtEnd)
        box.scrollTop = box.scrollHeight;
}

async function showDetail(id, mine) {
    let problem = "";
    while (mine === turn) {
        try {
            const detail = await answerOf(`api/detail?${id}`);
            if (mine !== turn)
                return;
            if (!detail.error || detail.rows.length > 0)
                fillFlows(detail.rows, detail.more);
            fillLog(detail.log);
            if (detail.error || problem)
                say(detail.error || "", Boolean(detail.error));
            problem = detail.error || "";
        } catch {
            // The stream says what there is to say.
        }
        await new Promise(done => setTimeout(done, 2000));
    }
}

function choose(id) {
    chosen = id;
    turn++;
    $("detail").hidden = id === null;
    $("level").value = "";
    say("");
    $("flows").replaceChildren();
    $("log").textContent = "";
    if (id !== null)
        showDetail(id, turn);
    draw();
}

async function act(path, body, done) {
    const name = appliances.get(body.id)?.name;
    try {
        say(done(name, (await answerOf(path, body)).result));
    } catch (error) {
        say(`${name}: ${error.message}`, true);
    }
}

$("all").addEventListener("click", () => choose(null));
$("set").addEventListener("click", () => {
    if ($("level").value)
        act("api/level", { id: chosen, set: $("level").value }, name => `${name} logs ${$("level").value}`);
});
$("shutdown").addEventListener("click", () => {
    $("sure").returnValue = "no";
    $("sure").dataset.id = chosen;
    setText($("sure-text"), `${appliances.get(chosen).name} ends as on SIGTERM: its hooks run, then it is gone.`);
    $("sure").showModal();
});
$("sure").addEventListener("close", () => {
    if ($("sure").returnValue === "yes")
        act("api/shutdown", { id: $("sure").dataset.id }, name => `${name} was asked to end`);
});

draw();
if (token)
    follow();
else
    setLink("lost", "open the address that mirari dash has printed, whole");
