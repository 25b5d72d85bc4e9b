"""The page that alarms link to: each alarm's paragraph of ``docs/operations.md``, then the whole of it as it is."""

import html
import re

from clock.files import folder

ALARMS = "| alarm | condition | what to do |"
"""The head of the table."""

PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>clock · runbook</title>
  <link rel="icon" href="/web/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/web/page.css">
  <link rel="stylesheet" href="/web/ops.css">
</head>
<body class="ops runbook">
  <main>
    <section class="card wide-card"><h1>Runbook</h1>
{alarms}
    </section>
    <section class="card wide-card"><pre>{manual}</pre></section>
  </main>
</body>
</html>
"""


def runbook() -> bytes:
    """HTML, with an anchor for each alarm's code."""
    manual = (folder("docs") / "operations.md").read_text("utf-8")
    rows = manual.partition(ALARMS)[2].partition("\n\n")[0].splitlines()[2:]
    sections = [_section(*[cell.strip() for cell in row.strip("|").split(" | ")]) for row in rows]
    return PAGE.format(alarms="\n".join(sections), manual=html.escape(manual)).encode()


def _section(codes: str, condition: str, what_to_do: str) -> str:
    heads = "".join(f'<h2 id="{code}">{code}</h2>' for code in re.findall(r"`(\w+)`", codes))
    return f"{heads}<p>{_text(condition)}.</p><p>{_text(what_to_do)}.</p>"


def _text(cell: str) -> str:
    """A cell of Markdown, of which the table uses code, emphasis and links."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", html.escape(cell, quote=False))
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", re.sub(r"`([^`]+)`", r"<code>\1</code>", text))
