"""The documentation as a static site, built without the network: every page, an API reference from the docstrings, a search.

    python docs/build_site.py OUT        # then open OUT/index.html, or put the folder on any web server

Why not MkDocs and Material: Material for MkDocs is in maintenance only since November 2025 and its successor (Zensical) is young; a
site of thirty pages needs a Markdown parser, which `rich` brings with it, and a page of search, and builds in seconds.
"""

import ast
import inspect
import json
import re
import shutil
import sys
from html import escape
from importlib import import_module
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
DOCS, LOOK = ROOT / "docs", ROOT / "src" / "digsite" / "report" / "assets" / "look.css"
PACKAGES = (
    "digsite",
    "digsite.read",
    "digsite.prune",
    "digsite.decompose",
    "digsite.track",
    "digsite.graft",
    "digsite.figures",
)
STYLE = """
body { margin: 0 auto; max-width: 78rem; padding: 1rem; display: grid; grid: auto auto 1fr / 14rem minmax(0, 1fr); gap: 0.5rem 2rem; }
search, nav { grid-column: 1; } search ul, nav ul { list-style: none; padding: 0; } nav li { margin: .2rem 0; } nav details { border: 0; }
search .to-pages { display: none; } main { grid-column: 2; grid-row: 1 / 4; max-width: 60rem; overflow-wrap: anywhere; } main img { max-width: 100%; height: auto; }
main h2 { margin-top: 1.8rem; } main table { overflow-wrap: normal; } main td, main th { min-width: 4.5rem; } input { font: inherit; color: inherit; background: var(--page); border: 1px solid var(--rule); border-radius: 6px; padding: .3rem .5rem; width: 100%; }
pre { overflow-x: auto; padding: .8rem; background: var(--raised); } pre:has(.language-text) { white-space: pre-wrap; } table { display: block; overflow-x: auto; }
@media (max-width: 50rem) { body { grid: auto / minmax(0, 1fr); } main { grid-column: 1; grid-row: 2; } nav { grid-row: 3; } search .to-pages { display: inline; margin-left: 1rem; } }
"""
SEARCH = """
const box = document.getElementById("search"), list = document.getElementById("hits");
let pages;
// A script and no fetch: a page that was opened as a file may load the one and not the other.
const load = () => new Promise((done) => {
  const script = document.createElement("script");
  script.src = document.body.dataset.root + "search-pages.js";
  script.onload = () => done(window.pages);
  document.head.append(script);
});
box.addEventListener("input", async () => {
  pages ??= await load();
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const hits = words.length ? pages.filter((page) => words.every((word) => page.text.includes(word))).slice(0, 12) : [];
  list.replaceChildren(...hits.map((page) => {
    const link = document.createElement("a"); link.href = document.body.dataset.root + page.path; link.textContent = page.title;
    const item = document.createElement("li"); item.append(link); return item;
  }));
});
"""


def build_site(out: Path) -> list[str]:
    """Write the site into `out`; the paths of its pages."""
    sources = {
        "index": ROOT / "README.md",
        "changelog": ROOT / "CHANGELOG.md",
        "contributing": ROOT / "CONTRIBUTING.md",
    }
    sources |= {
        path.relative_to(DOCS).with_suffix("").as_posix(): path
        for path in sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")])
    }
    texts = {
        name: read_notebook(path.read_text()) if path.suffix == ".ipynb" else path.read_text()
        for name, path in sources.items()
    }
    texts["api"] = write_reference()
    titles = {name: read_title(text, name) for name, text in texts.items()}
    markdown = MarkdownIt("commonmark").enable("table")
    index = []
    for name, text in texts.items():
        source = sources.get(name, DOCS / "api.md")
        body = copy_pictures(link_pages(markdown.render(text), source, name, sources), source, name, out)
        body = re.sub(r"<(pre|table)>", r'<\1 tabindex="0">', body)  # what scrolls sideways, keys reach
        body = re.sub(r"<th( [^>]*)?></th>", "<td></td>", body)  # an empty corner heads nothing
        target = out / f"{name}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(fill_page(titles[name], body, name, titles))
        index.append({"path": f"{name}.html", "title": titles[name], "text": text.lower()})
    (out / "search-pages.js").write_text(f"window.pages = {json.dumps(index)}")
    (out / "search.js").write_text(SEARCH)
    (out / "style.css").write_text(LOOK.read_text() + STYLE)
    return [f"{name}.html" for name in texts]


def read_notebook(stored: str) -> str:
    """An executed notebook as Markdown: its code, and below each cell what it printed or showed."""
    parts = []
    for cell in json.loads(stored)["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {"text/plain": output.get("text", [])})
            html = re.sub(
                r"\n\s*\n", "\n", "".join(data.get("text/html", []))
            )  # an empty line would end the block
            plain = "".join(data.get("text/plain", [])).rstrip("\n")
            parts.append(f"<div>{html}</div>" if html else f"```text\n{plain}\n```")
    return "\n\n".join(parts)


def read_title(text: str, name: str) -> str:
    """The first heading of a page."""
    found = re.search(r"^# (.+)$", text, re.M)
    return found[1].strip("`") if found else name


def link_pages(body: str, source: Path, name: str, sources: dict[str, Path]) -> str:
    """Links between Markdown files become links between pages; anchors stay; other files are left as names."""
    known = {path.resolve(): page for page, path in sources.items()}
    up = "../" * name.count("/")

    def replace(match: re.Match[str]) -> str:
        target, _, anchor = match[1].partition("#")
        if "://" in target or not target or target.startswith("mailto:"):
            return match[0]
        page = known.get((source.parent / target).resolve())
        return (
            f'href="{up}{page}.html{"#" + anchor if anchor else ""}"'
            if page
            else f'data-file="{escape(target)}"'
        )

    return re.sub(r'href="([^"]*)"', replace, body)


def copy_pictures(body: str, source: Path, name: str, out: Path) -> str:
    """Pictures of the repository go along under `pictures/`; one that is not there is left as it is written."""
    up = "../" * name.count("/")

    def replace(match: re.Match[str]) -> str:
        if "://" in match[1] or match[1].startswith("data:"):
            return match[0]
        file = (source.parent / match[1]).resolve()
        if not file.is_file():
            return match[0]
        (out / "pictures").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, out / "pictures" / file.name)
        return f'src="{up}pictures/{file.name}"'

    return re.sub(r'src="([^"]*)"', replace, body)


def fill_page(title: str, body: str, name: str, titles: dict[str, str]) -> str:
    """One page with the list of all others and the search."""
    up = "../" * name.count("/")
    here = {page: ' aria-current="page"' if page == name else "" for page in titles}
    links = {p: f'<li><a href="{up}{p}.html"{here[p]}>{escape(t)}</a></li>' for p, t in titles.items()}
    why = [link for p, link in links.items() if p.startswith("decisions/")]
    rest = [link for p, link in links.items() if not p.startswith("decisions/")]
    inside = " open" if name.startswith("decisions/") else ""
    search = (
        '<search><label for="search">search</label> <input id="search" type="search"><a class="to-pages" href="#pages">all pages</a>'
        '<ul id="hits" aria-live="polite"></ul></search>'
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)} · digsite</title><link rel="stylesheet" href="{up}style.css">'
        f'<script defer src="{up}search.js"></script></head><body data-root="{up or "./"}">'
        f'{search}<main>{body}</main><nav id="pages" aria-label="Pages"><ul>{"".join(rest)}</ul>'
        f"<details{inside}><summary>Decisions</summary><ul>{''.join(why)}</ul></details></nav></body></html>"
    )


def write_reference() -> str:
    """The public names of each package with signature and docstring, as one Markdown page."""
    parts = [
        "# API reference",
        "Every public name, from its docstring; `dir(digsite.read)` lists the same names.",
    ]
    for package in PACKAGES:
        module = import_module(package)
        parts.append(f"## {package}")
        parts.append((inspect.getdoc(module) or "").partition("\n")[0])
        for name in sorted(module.__all__):
            parts += describe_name(name, getattr(module, name))
    return "\n\n".join(part for part in parts if part)


def describe_name(name: str, value: object) -> list[str]:
    """Heading, signature and docstring of one public name; a package is told by its own section."""
    if inspect.ismodule(value) or not (callable(value) or inspect.getdoc(type(value))):
        return []
    try:
        signature = str(inspect.signature(value)) if callable(value) else ""  # pyright: ignore
    except (TypeError, ValueError):
        signature = ""
    plain = (
        ast.unparse(ast.parse(f"def f{signature}: ...")).removeprefix("def f").removesuffix(":\n    ...")
        if is_python(signature)
        else signature
    )
    doc = inspect.getdoc(value) or ""
    return [f"### `{name}`", f"```python\n{name}{plain}\n```", doc]


def is_python(signature: str) -> bool:
    """Whether a signature is made of Python alone, and not of representations of default values."""
    try:
        ast.parse(f"def f{signature}: ...")
    except SyntaxError:
        return False
    return bool(signature)


if __name__ == "__main__":
    built = build_site(Path(sys.argv[1] if len(sys.argv) > 1 else "site"))
    sys.stdout.write(f"{len(built)} pages\n")
