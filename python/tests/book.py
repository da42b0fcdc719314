"""The documents, as tests read them: their examples in bytes and their tables."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "protocol.md").read_text()
EXAMPLES = (ROOT / "docs" / "protocol-examples.md").read_text()
ARITHMETIC = (ROOT / "docs" / "arithmetic.md").read_text()


def blocks(kind: str) -> list[tuple[str, str]]:
    """Name and text of the examples of a kind."""
    return re.findall(rf"^```{kind} (\S.*?)\n(.*?)^```$", EXAMPLES, re.MULTILINE | re.DOTALL)


def bytes_of(text: str) -> bytes:
    """The bytes that lines of hexadecimal digits and quoted texts say; a comment follows behind #."""
    said = b""
    for line in text.splitlines():
        for quoted, other in re.findall(r'("(?:[^"\\]|\\.)*")|([^"]+)', re.sub(r'#(?=(?:[^"]*"[^"]*")*[^"]*$).*', "", line)):
            said += quoted[1:-1].encode() if quoted else bytes.fromhex(other)
    return said


def rows(text: str, head: str) -> list[list[str]]:
    """The rows of the table under this head."""
    lines = text[text.index(head) :].splitlines()[2:]
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table
