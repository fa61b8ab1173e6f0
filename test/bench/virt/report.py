# SPDX-License-Identifier: ISC
"""Table and plots of `make bench-virt`, from the results of a run: {service: {contender: {figure: value}}}.

A plot is an SVG of panels one below the other, a bar for each contender with its value written beside it, drawn
without any library. Panels whose values differ by orders of magnitude are logarithmic and say so."""
import html
import math
import os
import platform
import re

TITLE = {"http": "HTTP, a page of 600 bytes, 64 connections", "dns": "DNS, a zone of 1,000 names, 64 queries under way"}
COLUMNS = (("rate", "per second", "{:,.0f}"), ("p50", "median, ms", "{:.2f}"), ("p99", "99 %, ms", "{:.2f}"),
           ("cpu", "CPU s per million", "{:.1f}"), ("boot", "first answer after, ms", "{:,.1f}"),
           ("memory", "smallest memory, MB", "{:.0f}"), ("image", "image, KB", "{:,.0f}"))
# Figure, what is written above its panel, is it logarithmic.
PANELS = (("rate", "answers per second (longer is better)", False),
          ("cpu", "CPU seconds for a million answers (shorter is better)", False),
          ("boot", "start to first answer, ms, logarithmic (shorter is better)", True),
          ("memory", "smallest memory that works, MB, logarithmic (shorter is better)", True),
          ("image", "image, KB, logarithmic (shorter is better)", True))
# Ours against the best Linux guest: figure, is more better, aim as a ratio.
AIMS = (("rate", True, 4.0, "answers per second"), ("boot", False, 1 / 20, "start to first answer"),
        ("memory", False, 1 / 8, "smallest memory"), ("image", False, 1 / 50, "image"))
BEGIN, END = "<!-- bench-virt:begin -->", "<!-- bench-virt:end -->"


def aims(results):
    """Lines of ours against the best of the Linux guests on the same machine type, figure by figure."""
    lines = []
    for service, found in results.items():
        for kind in ("q35", "microvm"):
            ours = found.get(f"Mirari VM, {kind}", {})
            theirs = {name: one for name, one in found.items() if name.endswith(f"in Linux, {kind}")}
            for figure, is_more, aim, what in AIMS:
                peers = {name: one[figure] for name, one in theirs.items() if figure in one}
                if figure not in ours or not peers:
                    continue
                best = (max if is_more else min)(peers, key=peers.get)
                ratio = ours[figure] / peers[best]
                is_met = ratio >= aim if is_more else ratio <= aim
                wanted = f"at least {aim:.0f} x" if is_more else f"at most 1/{1 / aim:.0f}"
                shown = f"{ratio:.2f} x" if is_more else f"1/{1 / ratio:.1f}"
                lines.append(f"| {service}, {kind} | {what} | {best.split(' in ')[0]} | {shown} | {wanted} | "
                             f"{'yes' if is_met else 'no'} |")
    return lines


def table(results, when, opt):
    """The whole block for docs/performance.md."""
    out = [f"One run of `make bench-virt` on {when}: {processor()}, {os.cpu_count()} cores, Linux {platform.release()}, QEMU "
           f"with TCG; guests have {opt.memory} MB; median of {opt.rounds} rounds of {opt.seconds} s in turns."]
    for service, found in results.items():
        columns = [column for column in COLUMNS if any(column[0] in one for one in found.values())]
        out += ["", f"**{TITLE[service]}**", "", "| | " + " | ".join(title for _, title, _ in columns) + " |",
                "|---|" + "---:|" * len(columns)]
        for name, one in found.items():
            cells = [form.format(one[figure]) if figure in one else "-" for figure, _, form in columns]
            out.append(f"| {name} | " + " | ".join(cells) + " |")
    lines = aims(results)
    if lines:
        out += ["", "| ours against the best Linux guest | figure | best of Linux | ratio | aim | met |",
                "|---|---|---|---:|---|---|", *lines]
    return "\n".join(out) + "\n"


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        return next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())


# ---- plots -------------------------------------------------------------------------------------------

WIDTH, NAME_WIDTH, VALUE_WIDTH, ROW, GAP = 860, 210, 110, 20, 36


def length(value, top, bottom, is_log):
    """Of a bar, in pixels. A logarithmic one starts a decade below the smallest value."""
    room = WIDTH - NAME_WIDTH - VALUE_WIDTH
    if not is_log:
        return room * value / top
    low = math.floor(math.log10(bottom)) - 0.5
    return room * (math.log10(value) - low) / (math.log10(top) - low)


def panel(at, title, bars, form, is_log):
    """(SVG elements, the y below them)"""
    out = [f'<text x="10" y="{at}" class="head">{html.escape(title)}</text>']
    top, bottom = max(value for _, value in bars), min(value for _, value in bars)
    for name, value in bars:
        at += ROW
        wide = max(length(value, top, bottom, is_log), 1)
        kind = "ours" if name.startswith("Mirari") else "theirs" if " in Linux" in name else "host"
        out.append(f'<text x="{NAME_WIDTH - 8}" y="{at}" class="name">{html.escape(name)}</text>'
                   f'<rect x="{NAME_WIDTH}" y="{at - 12}" width="{wide:.1f}" height="15" rx="2" class="{kind}"/>'
                   f'<text x="{NAME_WIDTH + wide + 6:.1f}" y="{at}">{form.format(value)}</text>')
    return out, at + GAP


def plot(service, found):
    forms = {figure: form for figure, _, form in COLUMNS}
    at, body = 58, []
    for figure, title, is_log in PANELS:
        bars = [(name, one[figure]) for name, one in found.items() if one.get(figure, 0) > 0]
        if bars:
            elements, at = panel(at, title, bars, forms[figure], is_log)
            body += elements
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {at}" width="{WIDTH}" height="{at}" role="img" '
        f'aria-label="{html.escape(TITLE[service])}: Mirari and Linux">',
        "<style>text{font:13px system-ui,sans-serif;fill:#222}.title{font-size:17px;font-weight:600}.head{font-weight:600}"
        ".name{text-anchor:end}.ours{fill:#1b7f5c}.theirs{fill:#c2703d}.host{fill:#8a8f98}</style>",
        f'<rect width="{WIDTH}" height="{at}" fill="#fff"/>',
        f'<text x="10" y="26" class="title">{html.escape(TITLE[service])}</text>', *body, "</svg>", ""])


def update(docs, block, results):
    """The table into docs/performance.md, between its marks, and the plots beside it."""
    path = os.path.join(docs, "performance.md")
    with open(path, encoding="utf-8") as text:
        page = text.read()
    images = ""
    for service, found in results.items():
        with open(os.path.join(docs, f"bench-virt-{service}.svg"), "w", encoding="utf-8") as out:
            out.write(plot(service, found))
        images += f"\n![{TITLE[service]}](bench-virt-{service}.svg)\n"
    page, count = re.subn(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n{block}{images}{END}", page, flags=re.S)
    if count != 1:
        raise SystemExit(f"bench-virt: {path} has no line {BEGIN}")
    with open(path, "w", encoding="utf-8") as out:
        out.write(page)
