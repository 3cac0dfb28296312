"""What the study's results are shown in: docs/results.md, README's block, and an HTML page.

| module | holds |
|---|---|
| claims | the paper's findings, beside what the study measures of them |
| results, readme | docs/results.md; README's block of results |
| families, points, charts, figures | the figures: which arms, their numbers, their drawing |
| findings, tables | what a figure shows, in sentences and in numbers |
| html | the page of all figures |
| templates | loads the templates, `*.jinja`, which hold all sentences |
"""
