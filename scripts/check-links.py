#!/usr/bin/env python3
"""Checks that every relative link between the Markdown pages, with its anchor, has a target."""
import re
import subprocess
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
pages = [root / name for name in subprocess.check_output(["git", "ls-files", "*.md"], cwd=root, text=True).split()]


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    plain = (re.sub(r"\]\([^)]*\)", "", head).replace("[", "").replace("`", "").lower() for head in heads)
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


broken = []
for page in pages:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{page.relative_to(root)}: {link}")
print("\n".join(broken) or f"{len(pages)} pages, no broken link")
sys.exit(bool(broken))
