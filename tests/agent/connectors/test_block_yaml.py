"""The reader of YAML in block style: what it reads, and that it refuses the rest."""

from __future__ import annotations

import pytest

from tests.agent.connectors.block_yaml import BlockYamlError, block_yaml

TEXT = """\
info:
  title: An API
  text: |
    Of two lines,
      with: no key
  version: 1.0.0
paths:
  /a/{id}:
    get:
      parameters:
        - name: id
          in: path
          schema:
            type: string
            enum:
              - one
              - '2'
        - $ref: '#/components/x'
      responses:
      - 200

      - {}
  'on': true
  least: -3
  rate: 0.5
  nothing:
  none: null
  empty: []
"""


def test_a_document() -> None:
    schema = {"type": "string", "enum": ["one", "2"]}
    parameters = [{"name": "id", "in": "path", "schema": schema}, {"$ref": "#/components/x"}]
    get = {"parameters": parameters, "responses": [200, {}]}
    numbers = {"on": True, "least": -3, "rate": 0.5, "nothing": None, "none": None, "empty": []}
    info = {"title": "An API", "text": "Of two lines,\nwith: no key", "version": "1.0.0"}
    assert block_yaml(TEXT) == {"info": info, "paths": {"/a/{id}": {"get": get}, **numbers}}


@pytest.mark.parametrize(
    "text", ["a: [1, 2]", "a: {b: c}", "a: &x 1", "a: *x", "a: >\n  b", "a: 'b", "a: 1\nb", "a: 1\n  b: 2", "- a\nb: 1"]
)
def test_what_is_not_read_is_refused(text: str) -> None:
    with pytest.raises(BlockYamlError, match=r"line \d: expected"):
        block_yaml(text)
