"""Bodies of server-side apply: JSON that is YAML, too, whatever texts are in it.

An API server reads the body of an apply as YAML. JSON is YAML but for texts with characters beyond
U+FFFF, which JSON escapes as two surrogates: "found invalid Unicode character escape code", for ever,
since the same text comes again. They stand here as themselves. What YAML takes for a line break or
refuses as itself stays escaped, and half a surrogate pair, which no text may have, becomes U+FFFD.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def apply_body(value: Mapping[str, Any]) -> bytes:
    """Return an object as the body of a server-side apply."""
    text = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(_escape, text).encode()


def _escape(found: re.Match[str]) -> str:
    character = ord(found[0])
    return "\\ufffd" if 0xD800 <= character <= 0xDFFF else f"\\u{character:04x}"  # noqa: PLR2004
