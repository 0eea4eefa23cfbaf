"""Pages of the documentation from the notebooks, as they were last run: text, code, and what each cell showed."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_STYLE = re.compile(r"<style.*?</style>\s*", re.DOTALL)  # of data frames; the pages have their own


def on_files(files: Files, config: Any) -> Files:
    """Add a page, and its pictures, for every notebook."""
    for book in [file for file in files if file.src_uri.endswith(".ipynb")]:
        name, pictures = Path(book.src_uri).stem, []
        cells = json.loads(Path(str(book.abs_src_path)).read_text("utf-8"))["cells"]
        text = "\n\n".join(part for cell in cells for part in _parts(cell, name, pictures))
        links = f"*[The notebook]({name}.ipynb), as it was last run; the tests of mcnet run it.*"
        head, _, rest = text.partition("\n\n")
        folder = Path(book.src_uri).parent
        files.append(File.generated(config, f"{folder}/{name}.md", content=f"{head}\n\n{links}\n\n{rest}\n"))
        for number, picture in enumerate(pictures, 1):
            files.append(File.generated(config, f"{folder}/{name}-{number}.png", content=picture))
    return files


def _parts(cell: dict[str, Any], name: str, pictures: list[bytes]) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    parts = [f"```python\n{source}\n```"]
    for output in cell["outputs"]:
        data = {kind: "".join(lines) for kind, lines in output.get("data", {}).items()}
        if "image/png" in data:
            pictures.append(base64.b64decode(data["image/png"]))
            parts.append(f"![Figure of the cell above]({name}-{len(pictures)}.png)")
        elif "text/html" in data:
            table = _STYLE.sub("", data["text/html"]).replace(' border="1" class="dataframe"', "")
            parts.append("\n".join(line.strip() for line in table.splitlines()))
        else:
            parts.append(f"```text\n{data.get('text/plain', ''.join(output.get('text', ''))).rstrip()}\n```")
    return parts
