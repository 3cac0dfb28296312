"""Bad inputs of every reader, and what the one line says; the place and the mend stand around it.

The readers are those of `make fuzz`, which feeds them inputs at random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz.readers import READERS
from westofn.errors import LONGEST, WestofnError

PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}
DEEP = b"[" * 100_000
LONG = b"9" * 5000
HALF = rb'{"a": "\ud800"}'
REFUSED: dict[str, list[tuple[Any, str]]] = {
    "preferences, JSON lines": [
        (b"", "x.jsonl: no usable pair in 0 rows (); needs rows with two different, non-empty"),
        (b"\n\n", "x.jsonl: no usable pair in 0 rows (); needs rows with two different, non-empty"),
        (b"{", "x.jsonl:1: not JSON (Expecting property name enclosed in double quotes, column"),
        (b"[1]", "x.jsonl: row 1: an array entry is a int, needs objects"),
        (b"[]", "x.jsonl: no usable pair in 0 rows (); needs rows with two different, non-empty"),
        (b"null", "x.jsonl:1: the line is a null, needs an object a line"),
        (b"5", "x.jsonl:1: the line is a int, needs an object a line"),
        (b'"a"', "x.jsonl:1: the line is a str, needs an object a line"),
        (b"\xff\n", "x.jsonl:1: byte 0 is not UTF-8; needs UTF-8 text"),
        (DEEP, "x.jsonl: not JSON (maximum recursion depth exceeded while decoding a JSON array"),
        (b'{"a":' * 9999, "x.jsonl:1: not JSON (maximum recursion depth exceeded while decoding a"),
        (b'{"prompt": NaN}', 'x.jsonl:1: not JSON (NaN is not a finite number): \'{"prompt":'),
        (b'{"prompt": Infinity}', "x.jsonl:1: not JSON (Infinity is not a finite number):"),
        (b'{"prompt": 1e999}', "x.jsonl:1: '1e999' is beyond the largest number that is read,"),
        (b'{"prompt": ' + LONG + b"}", "x.jsonl:1: a number of 5000 digits, at most 308 are read"),
        (
            b'{"a": 1, "a": 2}',
            "x.jsonl:1: key 'a' is there twice, of which one value would be lost",
        ),
        (HALF, "x.jsonl:1: column a holds half a surrogate pair, which is not a character"),
        (
            b'{"prompt": "q"} x',
            'x.jsonl:1: not JSON (Extra data, column 17): \'{"prompt": "q"} x\';',
        ),
        (b"{'prompt': 'q'}", "x.jsonl:1: not JSON (Expecting property name enclosed in double"),
        ([{**PAIR, "chosen": 1}], "x.jsonl:1: of the columns of “pairs”, prompt is a str, chosen"),
        ([{**PAIR, "rejected": None}], "x.jsonl:1: of the columns of “pairs”, prompt is a str,"),
        ([{"prompt": "q"}], "x.jsonl:1: columns 'prompt' fit no form of preferences; the nearest"),
        ([{}], "x.jsonl:1: columns '' fit no form of preferences; the nearest is “pairs”, which"),
        ([PAIR, 3], "x.jsonl:2: the line is a int, needs an object a line"),
        ([{**PAIR, "chosen": "b"}], "x.jsonl: no usable pair in 1 rows"),
        ([{**PAIR, "chosen": ""}], "x.jsonl: no usable pair in 1 rows (dropped_empty_response 1);"),
        ([{**PAIR, "chosen": [{"role": "user"}]}], "x.jsonl:1: column chosen has an entry of"),
        (
            [{**PAIR, "chosen": [{"role": "nobody", "content": "x"}]}],
            "x.jsonl:1: column chosen has a",
        ),
        ([{"prompt": "q", "responses": ["a"], "scores": [1]}], "x.jsonl: no usable pair in 1 rows"),
        ([{"prompt": "q", "responses": ["a", "b"], "scores": [1]}], "x.jsonl:1: 2 responses and 1"),
        (
            [{"prompt": "q", "responses": ["a", "b"], "scores": ["x", 2]}],
            "x.jsonl:1: column scores is a",
        ),
        ([{"prmpt": "q", "chosen": "a", "rejected": "b"}], "x.jsonl:1: column prompt is missing"),
        (
            [{**PAIR, "prompt": "a\nb", "choosen": "c"}, {"prompt": "two\nlines"}],
            "x.jsonl:2: column chosen is",
        ),
    ],
    "preferences, JSON tables": [
        (b"[1]", "x.json: row 1: an array entry is a int, needs objects"),
        (b"{}", "x.json:1: columns '' fit no form of preferences; the nearest is “pairs”, which"),
        (b"[]", "x.json: the file has no rows; needs at least 1"),
        ({"data": [1]}, "x.json: row 1: an array entry is a int, needs objects"),
        ({"columns": ["a"], "data": [1]}, "x.json: row 1: an array entry is a int"),
        ({"columns": ["a"], "data": [["x"]]}, "x.json: row 1: columns 'a' fit no form of"),
        ({"chosen": {"0": "a"}}, "x.json: row 1: columns 'chosen' fit no form of preferences; the"),
        (
            b'[{"a": 1}',
            "x.json: not JSON (Expecting ',' delimiter, column 10): '[{\"a\": 1}'; needs",
        ),
        ({"data": [{**PAIR, "chosen": 3}]}, "x.json: row 1: of the columns of “pairs”, prompt is"),
    ],
    "preferences, CSV": [
        (b"", "x.csv: the file has no rows; needs at least 1"),
        (b"\xff", "x.csv:1: byte b'\\xff' is not UTF-8; needs UTF-8 text"),
        (b"a,b\n1,2\n", "x.csv:2: columns 'a, b' fit no form of preferences; the nearest is"),
        (b"prompt,chosen\nq,a\n", "x.csv:2: columns 'prompt, chosen' fit no form of preferences;"),
        (b"prompt,prompt\nq,a\n", "x.csv:1: the header is 'prompt, prompt'; needs distinct names"),
        (b"prompt,chosen,rejected\nq,a\n", "x.csv:2: the row has 2 cells, needs 3 ('prompt,"),
        (b'prompt,chosen,rejected\n"q,a,b\n', "x.csv:2: not CSV (unexpected end of data); quote"),
        (b"prompt,chosen,rejected\nq,,b\n", "x.csv: no usable pair in 1 rows"),
        (b"prompt,chosen,rejected\nq,a,b,c\n", "x.csv:2: the row has 4 cells, needs 3 ('prompt,"),
        (b"\x00\n", "x.csv: the file has no rows; needs at least 1"),
        (b"prompt,chosen,rejected\n", "x.csv: the file has no rows; needs at least 1"),
    ],
    "preferences, Parquet": [
        (b"", "x.parquet: empty, truncated or not Parquet ('Parquet file size is 0 bytes')"),
        (b"PAR1", "x.parquet: empty, truncated or not Parquet ('Parquet file size is 4 bytes,"),
        (b"PAR1PAR1", 'x.parquet: empty, truncated or not Parquet ("Parquet file size is 8 bytes,'),
        (b"x" * 99, "x.parquet: empty, truncated or not Parquet ('Parquet magic bytes not found"),
        ([{"prompt": "q"}], "x.parquet: row 1: columns 'prompt' fit no form of preferences; the"),
        ([{**PAIR, "chosen": 1}], "x.parquet: row 1: of the columns of “pairs”, prompt is a str,"),
    ],
    "preferences, packed": [
        (b"", "x.jsonl.zst: the file has no rows; needs at least 1"),
        (b"\x1f\x8b", "x.jsonl.gz: the gzip stream is truncated or corrupt (Compressed file ended"),
        (b"\x1f\x8b\x08\x00", "x.jsonl.gz: the gzip stream is truncated or corrupt (Compressed"),
        (b"(\xb5/\xfd", "x.jsonl.zst: cannot be read (Truncated compressed stream)"),
        (
            b"plain",
            "x.jsonl.zst: cannot be read (ZSTD decompress failed: Unknown frame descriptor)",
        ),
    ],
    "`inspect`": [
        (b"", "x.jsonl: the file has no rows; needs at least 1"),
        (b"{", "x.jsonl:1: not JSON (Expecting property name enclosed in double quotes, column"),
        (b"\xff", "x.jsonl:1: byte 0 is not UTF-8; needs UTF-8 text"),
    ],
    "demonstrations, prompts": [
        (b"{", "x.jsonl:1: not JSON (Expecting property name enclosed in double quotes, column"),
        ([{"prompt": "q"}], "x.jsonl:1: column completion or response or output or answer or"),
        ([{"prompt": 3, "response": "a"}], "x.jsonl:1: column prompt is neither text nor"),
        ([{"prompt": "q", "response": None}], "x.jsonl:1: column response is a null (None), needs"),
        ([{"messages": []}], "x.jsonl:1: messages is empty, needs at least one"),
        ([{"messages": [{"role": "user", "content": "q"}]}], "x.jsonl:1: messages ends with role"),
        ([{"messages": "x"}], "x.jsonl:1: messages ends with role user, needs an assistant"),
        ([{"instruction": "q"}], "x.jsonl:1: column completion or response or output or answer or"),
    ],
    "pools": [
        ([{"prompt": "q"}], "x.jsonl:1: column responses is missing"),
        ([{"responses": ["a"]}], "x.jsonl:1: column prompt is missing"),
        ([{"prompt": "q", "responses": "a"}], "x.jsonl:1: column responses is a str ('a'), needs"),
        ([{"prompt": "q", "responses": [1]}], "x.jsonl:1: column responses is a int (1), needs"),
        ([{"prompt": "q", "responses": "[1"}], "x.jsonl:1: column responses is no JSON list"),
        ([{"prompt": "q", "responses": ["a"]}] * 2, "x.jsonl:2: prompt p54c451385b0938e6 also has"),
        ([{"prompt_id": 3, "responses": ["a"]}], "x.jsonl:1: column prompt_id is a int (3), needs"),
    ],
    "label answers": [
        (b"", "answers.jsonl: the file has no rows; needs at least 1"),
        (b"{", "answers.jsonl:1: not JSON (Expecting property name enclosed in double quotes,"),
        ([{"prompt": "q"}], "answers.jsonl:1: column response_a is missing"),
        (
            [
                {
                    "question_id": "q",
                    "prompt": "q",
                    "response_a": "a",
                    "response_b": "b",
                    "label": "c",
                }
            ],
            "answers.jsonl:1: column label",
        ),
        (
            [
                {
                    "question_id": "q",
                    "prompt": "never",
                    "response_a": "a",
                    "response_b": "b",
                    "label": "a",
                }
            ],
            "answers.jsonl: no usable answer",
        ),
        (
            [{"question_id": "q", "prompt": "q", "response_a": "a", "response_b": 1, "label": "a"}],
            "answers.jsonl:1: column",
        ),
    ],
    "rows to score": [
        (b"", "x: no rows to score; needs at least one"),
        (b"{", "x:1: not JSON (Expecting property name enclosed in double quotes, column 2): '{';"),
        ([{"prompt": "q"}], "x:1: has 'prompt', needs prompt and response, prompt and responses,"),
        ([{"prompt": "q", "response": 1}], "x: no rows to score, the first fault: x:1: column"),
        ([{"prompt": "q", "responses": []}], "x: no rows to score, the first fault: x:1: column"),
        ([{"prompt": "q", "response": "a", "reward": 1}], "x: no rows to score, the first fault:"),
        (
            [{"prompt": "q", "response": "a"}, {"prompt": "q", "responses": ["a", "b"]}],
            "x:1: has response and responses",
        ),
        ([{"messages": [{"role": "user", "content": "q"}]}], "x: no rows to score, the first"),
    ],
    "params.yaml": [
        (b"", "params.yaml holds NoneType, needs a mapping of sections"),
        (b"- 1\n", "params.yaml holds list, needs a mapping of sections"),
        (b"seed: [1\n", "params.yaml is not valid YAML: while parsing a flow sequence in"),
        (b"seed: 1\nseed: 2\n", "params.yaml is not valid YAML: while constructing a mapping in"),
        (b"\xff", "params.yaml cannot be read: 'utf-8' codec can't decode byte 0xff in position"),
        (b"seed: 2001-99-99\n", "params.yaml is not valid YAML: month must be in 1..12"),
        (b"seed: " + LONG, "params.yaml is not valid YAML: Exceeds the limit (4300 digits) for"),
        (
            b"seed: " + b"[" * 2000,
            "params.yaml is not valid YAML: maximum recursion depth exceeded",
        ),
        (b"#" * 100_001, "params.yaml has 100001 bytes, needs at most 100000"),
        (b"seed: !!python/name:os.system 1\n", "params.yaml is not valid YAML: could not"),
        ({"seed": -1}, "params.yaml: seed is -1, needs greater than or equal to 0; prepare is"),
        (b"seed: *a\n", "params.yaml is not valid YAML: found undefined alias 'a' in \"<unicode"),
        (b"\x00", "params.yaml is not valid YAML: unacceptable character #x0000: special"),
    ],
    "sections of params.yaml": [
        ({"filter": 1}, "params.yaml: filter is 1, needs a valid dictionary or instance of"),
        ({"filter": {"qantile": 1}}, "params.yaml: filter.quantile is missing"),
        ({"filter": {"quantile": "x"}}, "params.yaml: filter.quantile is 'x', needs a valid"),
        ({"filter": {}}, "params.yaml: filter.quantile is missing"),
        ({"filter": {"quantile": 10**400}}, "params.yaml: filter.quantile is"),
    ],
    "params.yaml, set by `tune`": [
        (b"", "params.yaml holds NoneType, needs a mapping of sections"),
        (b"seed: 1\n", "params.yaml: key filter.quantile is missing"),
        (b"filter: 1\n", "params.yaml: key filter.quantile is missing"),
        (b"filter: {quantile: [1], likelihood_quantile: 0}\n", "params.yaml: filter.quantile and"),
        (b"filter:\n quantile: a b\n likelihood_quantile: 0\n", "params.yaml: filter.quantile and"),
        (b"\xff", "params.yaml cannot be read: 'utf-8' codec can't decode byte 0xff in position"),
        (b"a: [", "params.yaml is not valid YAML: while parsing a flow node expected the node"),
        (b"a: 1\na: 1\n", "params.yaml is not valid YAML: while constructing a mapping in"),
        (b"a: " + LONG, "params.yaml is not valid YAML: Exceeds the limit (4300 digits) for"),
    ],
    "`-S` of `inspect` and `score`": [
        (b"", "-S : needs prepare.columns.NAME=PATH with a NAME of prompt, system, history,"),
        (b"a=b", "-S a=b: needs prepare.columns.NAME=PATH with a NAME of prompt, system, history,"),
        (b"prepare.columns.x=1", "-S prepare.columns.x=1: needs prepare.columns.NAME=PATH with a"),
        (b"prepare.columns.prompt", "-S prepare.columns.prompt: needs prepare.columns.NAME=PATH"),
        (b"prepare.bad_rows=keep", "-S prepare.bad_rows=keep: needs prepare.columns.NAME=PATH"),
        (b"prepare.columns.prompt=a", "prepare.columns names no responses; needs one of: chosen,"),
        (b"prepare.columns.chosen=a", "prepare.columns: pairs need chosen, rejected; rejected is"),
        (
            b"prepare.columns.order=up\nprepare.columns.responses=a\nprepare.columns.scores=b",
            "-S prepare.columns.order=up:",
        ),
    ],
    "runtime.toml": [
        (b"device", "runtime.toml is not valid TOML: Expected '=' after a key in a key/value pair"),
        (b"\xff", "runtime.toml is not valid TOML: 'utf-8' codec can't decode byte 0xff in"),
        (b"devise = 'cpu'", "runtime.toml: devise is no setting"),
        (b"device = 3", "runtime.toml: device is 3, needs a text in quotes"),
        (b"run_name = ['a']", "runtime.toml: run_name is ['a'], needs a text in quotes"),
        (b"threads = " + LONG, "runtime.toml is not valid TOML: Exceeds the limit (4300 digits)"),
        (b"report_to = 'a'", "runtime.toml: report_to is 'a', needs a list of names such as"),
        (b"report_to = [1]", "runtime.toml: report_to is [1], needs a list of names such as"),
        (b"gradient_checkpointing = 2", "runtime.toml or the environment: gradient_checkpointing"),
        (b"threads = " + b"[" * 2000, "runtime.toml is not valid TOML: maximum recursion depth"),
        (b"threads = 1\nthreads = 2", "runtime.toml is not valid TOML: Cannot overwrite a value"),
        (b"judge_workers = 1.5", "runtime.toml or the environment: judge_workers is 1.5, needs a"),
        (b"threads = -1", "threads is -1, needs a whole number ≥ 0, at most"),
        (b"threads = 3000000000", "threads is 3000000000, needs a whole number"),
        (b"threads = true", "threads is True, needs a whole number"),
        (b"threads = '" + LONG + b"'", "needs a whole number ≥ 0"),
    ],
    "replies of a judge": [
        (b"", "answers '', needs a chat completion"),
        (b"{}", "answers '{}', needs a chat completion"),
        (b"[]", "answers '[]', needs a chat completion"),
        (b"null", "answers 'null', needs a chat completion"),
        (DEEP, "answers"),
        (b"<html>", "answers '<html>', needs a chat completion"),
        ({"choices": []}, "answers '{\"choices\": []}', needs a chat completion"),
        ({"choices": [{}]}, "answers '{\"choices\": [{}]}', needs a chat completion"),
        ({"choices": [{"message": {"content": 3}}]}, 'answers \'{"choices": [{"message":'),
        ({"choices": [{"message": {"content": "A"}, "logprobs": 3}]}, 'answers \'{"choices":'),
        (
            {
                "choices": [
                    {
                        "message": {"content": "A"},
                        "logprobs": {
                            "content": [
                                {"token": "A", "top_logprobs": [{"token": "A", "logprob": "x"}]}
                            ]
                        },
                    }
                ]
            },
            'answers \'{"choices":',
        ),
    ],
    "templates of a judge": [
        ({"template": "{prompt}", "answers": ["A", "B"]}, "judge: template has no {first}"),
        (
            {"template": "{prompt} {first} {second} {x}", "answers": ["A", "B"]},
            "judge: template has a field",
        ),
        ({"template": "{prompt", "answers": ["A", "B"]}, "judge: template has unpaired braces"),
        (
            {"template": "{prompt} {first!r} {second}", "answers": ["A", "B"]},
            "judge: template has a field",
        ),
        (
            {"template": "{prompt} {first} {second:>9}", "answers": ["A", "B"]},
            "judge: template has a field",
        ),
        (
            {"template": "{prompt} {first} {second}", "answers": ["A", "A "]},
            "judge: answers 'A' and 'A '",
        ),
        (
            {"template": "{prompt} {first} {second}", "answers": ["", "B"]},
            "judge: answers '' and 'B'",
        ),
    ],
    "tables of other programs": [
        (b"", "x.parquet: the file has 0 bytes"),
        (b"x", "x.parquet: not a Parquet file: starts with b'x', needs b'PAR1'"),
        (b"PAR1", "x.parquet: corrupt Parquet ('Parquet file size is 4 bytes"),
        (b"PAR1PAR1", "x.parquet: corrupt Parquet ("),
        (b"PAR1" + b"\xff" * 99 + b"PAR1", "x.parquet: corrupt Parquet ("),
        (
            {"table": "prompts", "columns": {"prompt_id": ["p"], "prompt": ["a"], "split": ["x"]}},
            "x.parquet: 1 fault in table",
        ),
        (
            {
                "table": "prompts",
                "columns": {
                    "prompt_id": ["p", "p"],
                    "prompt": ["a", "b"],
                    "split": ["test", "test"],
                },
            },
            "x.parquet: 1 fault in table",
        ),
        (
            {
                "table": "prompts",
                "columns": {"prompt_id": [None], "prompt": ["a"], "split": ["test"]},
            },
            "x.parquet: 1 fault in table",
        ),
        (
            {"table": "prompts", "columns": {"prompt_id": [], "prompt": [], "split": []}},
            "x.parquet: 1 fault in table",
        ),
    ],
    "tables with a checksum": [
        (b"", "prompts.parquet: the file has 0 bytes"),
        (b"PAR1", "prompts.parquet: corrupt Parquet ('Parquet file size is 4 bytes"),
        (b"{}", "prompts.parquet: not a Parquet file: starts with b'{}', needs b'PAR1'"),
    ],
    "JSON of a stage": [
        (b"", "x.json: the file is empty, needs a JSON object"),
        (b" ", "x.json: the file is empty, needs a JSON object"),
        (b"[1]", "x.json: holds a list, needs a JSON object"),
        (b"3", "x.json: holds a int, needs a JSON object"),
        (b"{", "x.json:1: not JSON (Expecting property name enclosed in double quotes)"),
        (b"\xff", "x.json: byte 0 is not UTF-8"),
        (b'{"a": NaN}', "x.json: NaN is not a finite number"),
        (b'{"a": -Infinity}', "x.json: -Infinity is not a finite number"),
        (b'{"a": 1e999}', "x.json: '1e999' is not a finite number"),
        (b'{"a": ' + LONG + b"}", "x.json: a number has 5000 digits, at most 308 are read"),
        (b'{"a": 1, "a": 2}', "x.json: key 'a' occurs twice in one object"),
        (HALF, "x.json: a text holds half a surrogate pair, which is not a character"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "x.json: more than 100 nested objects and"),
        (DEEP, "x.json: maximum recursion depth exceeded while decoding a JSON array from a"),
    ],
    "curve.json": [
        (b"", "curve.json: the file is empty, needs a list of JSON objects"),
        (b"{}", "curve.json: needs a list of JSON objects"),
        (b"[1]", "curve.json: needs a list of JSON objects"),
        (b"[", "curve.json:1: not JSON (Expecting value)"),
        (b'[{"loss": NaN}]', "curve.json: NaN is not a finite number"),
        (DEEP, "curve.json: maximum recursion depth exceeded while decoding a JSON array from a"),
    ],
    "counts and summaries in the report": [
        ({"counts": {}}, "data/forecast/forecast.json: key 'labeled_pairs' is missing"),
        ({"counts": 3}, "data/forecast/forecast.json: a value is of another form ('int' object is"),
        ({"rows_in": 3}, "data/prepared/counts.json: key 'rows_out' is missing"),
        ({"rows_in": 9, "rows_out": "x"}, "data/prepared/counts.json: a value is of another form"),
        ({"pools_without_two": 1}, "data/loop/k1/pairs/summary.json: key 'candidates_cut' is"),
        (
            {"pairs_selected": 8, "pairs_kept": 6, "dropped": {"a": 1}},
            "data/loop/k1/synthetic/summary.j",
        ),
        (
            {"pairs_selected": 8, "pairs_kept": 6, "dropped": [2]},
            "data/loop/k1/synthetic/summary.j",
        ),
        ({"cut_by_limit": 1}, "data/loop/k1/rl/metrics.json: key 'prompts' is missing"),
        ({"responses_surplus": "a"}, "data/loop/k1/counts.json: key 'responses_too_long' is"),
        (b'{"counts":', "data/forecast/forecast.json:1: not JSON (Expecting value)"),
    ],
    "metrics.json, `summary`": [
        ({"k1": 3}, "metrics.json: a value is of another form (k1 is 3, needs an arm's numbers)"),
        ({"k1": {"accuracy": "high"}}, "metrics.json: a value is of another form (k1 is"),
        ({"rows": {"sft": {}}}, "metrics.json: key 'in' is missing"),
        ({"rows": {"sft": {"in": 3, "used": 2, "what": "a"}}}, "metrics.json: a value is of"),
        ({"rows": []}, "metrics.json: a value is of another form ('list' object has no attribute"),
        ({"k1": {"accuracy": None}}, "metrics.json: a value is of another form (k1 is"),
    ],
    "study.json": [
        ({}, "study.json: seeds: needs a list of whole numbers"),
        ({"seeds": [1]}, "study.json: no list of runs, needs one a seed, 1"),
        ({"seeds": ["a"], "runs": []}, "study.json: seeds: needs a list of whole numbers"),
        (
            {"seeds": [1], "runs": [1]},
            "study.json: seed 1: main, arms, tables: needs a JSON object",
        ),
        ({"seeds": [], "runs": [], "world": [1]}, "study.json: world: needs a JSON object of"),
        ({"seeds": [1], "runs": [{"main": {}, "arms": []}]}, "study.json: seed 1: arms, tables:"),
    ],
    "records of a part of the study": [
        (b"{", "data/study/baselines.json:1: not JSON (Expecting property name enclosed in double"),
        ({}, "data/study/baselines.json: key 'arms' is missing"),
        ({"arms": {}}, "data/study/baselines.json: key 'tables' is missing"),
        ({"arms": [], "tables": {}}, "data/study/baselines.json: a value is of another form"),
        ({"arms": {"a": 1}, "tables": {}}, "data/study/baselines.json: a value is of another form"),
        ({"arms": {}, "tables": {"a": [1]}}, "data/study/baselines.json: a value is of another"),
        (DEEP, "data/study/baselines.json: maximum recursion depth exceeded while decoding a JSON"),
    ],
    "metrics.json of a seed": [
        ({"k1": 3}, "metrics.json: a value is of another form ('int' object has no attribute"),
        (b"[]", "metrics.json: holds a list, needs a JSON object"),
        (b"\xff", "metrics.json: byte 0 is not UTF-8"),
    ],
    "results of `tune filter`": [
        (b"[]", "data/loop/k1/synthetic/summary.json: holds a list, needs a JSON object"),
        ({}, "data/loop/k1/synthetic/summary.json: key 'pairs_kept' is missing"),
        ({"pairs_kept": "x"}, "data/loop/k1/synthetic/summary.json: a value is of another form"),
        ({"pairs_kept": 3}, "data/loop/k1/rm/card.json: key 'training' is missing"),
        ({"pairs_kept": 3, "training": []}, "data/loop/k1/rm/card.json: a value is of another"),
        (
            {"pairs_kept": 3, "training": {"validation_accuracy": "a"}},
            "data/loop/k1/rm/card.json: a",
        ),
    ],
    "facts of the world": [
        (b"", "world: 1 fault in table world: (1) 1 row against 'facts is a JSON object', first"),
        (b"[]", "world: 1 fault in table world: (1) 1 row against 'facts is a JSON object', first"),
        (b"{}", "world: prompt test-000000 has facts '{}', needs a JSON object with a number"),
        (DEEP, "world: 1 fault in table world: (1) 1 row against 'facts is a JSON object', first"),
        ({"temperature": 10**400}, "needs a JSON object with a number temperature"),
        ({"temperature": "hot"}, 'world: prompt test-000000 has facts \'{"temperature": "hot"}\','),
    ],
    "card.json": [
        (b"", "policy/card.json is damaged (the file is empty, needs a JSON object)"),
        (b"[]", "policy/card.json is damaged (holds a list, needs a JSON object)"),
        ({}, "policy/card.json is damaged (format is missing)"),
        ({"format": 1}, "policy/card.json has format 1, this version reads 2"),
        ({"format": 2}, "policy/card.json is damaged (role is missing)"),
        ({"format": 2, "role": "king"}, "policy/card.json is damaged (role is 'king', needs"),
    ],
    "ensemble.json": [
        (b"", "ensemble.json is damaged (the file is empty, needs a JSON object)"),
        (b"{}", "ensemble.json is damaged (members is missing)"),
        ({"members": 1}, "ensemble.json is damaged (members is 1, needs greater than or equal to"),
        ({"members": 3}, "ensemble.json is damaged (members is 3, the folder holds 2 of member-*)"),
        ({"members": "2"}, "ensemble.json is damaged (members is '2', needs a valid integer)"),
        ({"members": 2, "a": 1}, "ensemble.json is damaged ('a' is not one of its keys)"),
        ({"members": 10**400}, "ensemble.json is damaged (a number has 401 digits, at most 308"),
    ],
    "index of sharded weights": [
        (b"", "model.safetensors.index.json is damaged (JSONDecodeError: Expecting value: line 1"),
        (b"[]", "model.safetensors.index.json is damaged (TypeError: list indices must be"),
        (b"{}", "model.safetensors.index.json is damaged (KeyError: 'weight_map'), needs an"),
        (DEEP, "model.safetensors.index.json is damaged (RecursionError: maximum recursion depth"),
        ({"weight_map": {}}, "model.safetensors.index.json is damaged (ValueError: weight_map is"),
        ({"weight_map": {"w": 3}}, "model.safetensors.index.json: weight_map names 3, needs the"),
        ({"weight_map": {"w": "../a"}}, "model.safetensors.index.json: weight_map names '../a',"),
        ({"weight_map": {"w": "b.safetensors"}}, "json: weight_map names b.safetensors, which is"),
        ({"weight_map": {"w": "a" * 999}}, "model.safetensors.index.json: weight_map names"),
        ({"weight_map": {"w": "two\nlines"}}, "model.safetensors.index.json: weight_map names"),
        ({"weight_map": {"w": "\x00"}}, "model.safetensors.index.json: weight_map names '\\x00',"),
    ],
    "header of weights": [
        (b"", "weights of '@' cannot be loaded: model.safetensors: Expecting value: line 1 column"),
        (b"\xff" * 9, "weights of '@' cannot be loaded: model.safetensors: the header is longer"),
        (b"\x02" + bytes(7) + b"[]", "weights of '@' cannot be loaded: model.safetensors: 'list'"),
        ({"w": {}}, "weights of '@' cannot be loaded: model.safetensors: 'shape'"),
        ({"w": {"shape": ["a"]}}, "weights of '@' cannot be loaded: model.safetensors: a shape in"),
        ({"w": {"shape": [-1]}}, "weights of '@' cannot be loaded: model.safetensors: a shape in"),
        ({"w": {"shape": 3}}, "weights of '@' cannot be loaded: model.safetensors: 'int' object"),
        ({"w": {"shape": [1.5]}}, "weights of '@' cannot be loaded: model.safetensors: a shape in"),
        (
            {},
            "config.json: num_layers is 1, needs a number from 1 to 0: the weights hold 0 tensors",
        ),
    ],
    "config.json, before loading": [
        (b"", "config.json cannot be read (Expecting value: line 1 column 1 (char 0))"),
        (b"[]", "config.json holds list, needs an object"),
        ({}, "model '@' has no model_type in config.json"),
        ({"model_type": 3}, "model '@' has no model_type in config.json"),
        ({"model_type": "vit"}, "model '@' is of family vit"),
        ({"model_type": "two\nlines"}, "model '@' is of family two\\nlines"),
        ({"model_type": "llama", "rope_scaling": {"type": "dynamic"}}, "model '@' has rope_type"),
        (
            {"model_type": "llama", "hidden_size": 10, "num_attention_heads": 3},
            "model '@' has hidden_size 10,",
        ),
        (
            {"model_type": "llama", "hidden_size": 10, "num_attention_heads": 0},
            "model '@' has hidden_size 10,",
        ),
        ({"model_type": "vit", "auto_map": {}}, "model '@' needs custom code (auto_map in"),
        ({"model_type": "bert"}, "model '@' is a bert, which is encoder-only and cannot generate"),
        (DEEP, "config.json cannot be read (maximum recursion depth exceeded while decoding a"),
    ],
    "config.json, loading": [
        (b"", "model 't5' cannot be loaded: It looks like the config file at 't5/config.json' is"),
        ({"model_type": "t5", "num_layers": 10**9}, "t5/config.json: num_layers is 1000000000,"),
        ({"model_type": "t5", "d_model": "x"}, "model 't5' cannot be loaded: config.json:"),
        ({"model_type": "vit"}, "model 't5' is of family vit"),
    ],
    "tokenizer.json": [
        (b"", "tokenizer of 't5' cannot be loaded: Expecting value: line 1 column 1 (char 0)"),
        (b"{}", "tokenizer of 't5' cannot be loaded: 'added_tokens'"),
        ({"version": "\u2028"}, "tokenizer of 't5' cannot be loaded: 'added_tokens'"),
    ],
    "tokenizer_config.json": [
        (b"[]", "tokenizer of 't5' cannot be loaded: 'list' object has no attribute 'get'"),
        ({}, "tokenizer of 't5' cannot be loaded: 'dict' object is not an instance of 'Sequence'"),
        ({"tokenizer_class": 3}, "tokenizer of 't5' cannot be loaded: 'int' object has no"),
        (
            {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": 3},
            "tokenizer of 't5' cannot be",
        ),
    ],
    "head of a reward model": [
        (b"", "rm/head.safetensors cannot be loaded: Error while deserializing header: header too"),
        (b"\xff" * 9, "rm/head.safetensors cannot be loaded: Error while deserializing header:"),
    ],
}
NEVER_REFUSED = {
    "preferences, bad rows dropped": "counted",
    "shards": "computed again",
    "manifest of a checkpoint": "described",
    "checkpoint of training": "dropped",
    "checkpoint of RL": "dropped",
}
"""Readers that go on, and what becomes of what is bad."""


@pytest.mark.parametrize("name", REFUSED)
def test_every_bad_input_is_one_line_that_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    (reader,) = (reader for reader in READERS if reader.name == name)
    target = reader.make(tmp_path)
    told = []
    for given, needed in REFUSED[name]:
        with pytest.raises(WestofnError) as caught:
            target.read(given if isinstance(given, bytes) else target.dump(given))
        line = str(caught.value).replace(f"{tmp_path}/", "").replace(str(tmp_path), "@")
        assert line.isprintable()
        if needed not in line:
            told.append((needed, line))
    assert told == []


def test_there_are_bad_inputs_of_every_reader() -> None:
    assert {reader.name for reader in READERS} == {*REFUSED, *NEVER_REFUSED}
    assert sum(map(len, REFUSED.values())) >= 250


@pytest.mark.parametrize(
    "quoted", ["\n", "\r", "\x1b[2J", "\u2028", "\x85", "\ud800", "\x00", "x" * 10**6, "\n" * 10**6]
)
def test_an_error_is_one_short_line_whatever_it_quotes(quoted: str) -> None:
    line = str(WestofnError(f"rows.csv:7: column {quoted} is wrong; mend it"))
    assert line.isprintable()
    assert len(line) <= LONGEST
    assert line.startswith("rows.csv:7: column ")
    assert line.endswith(" is wrong; mend it")
