"""A link to a word of the glossary shows the first sentence of its entry under the pointer."""

from collections.abc import Iterator

from docutils import nodes
from sphinx.addnodes import glossary
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

FORMULA = "\0"


def setup(app: Sphinx) -> None:
    app.connect("env-updated", collect)
    app.connect("doctree-resolved", explain)


def collect(app: Sphinx, env: BuildEnvironment) -> None:
    terms = env.get_domain("std").objects
    documents = {docname for (kind, _), (docname, _) in terms.items() if kind == "term"}
    app.first_sentences = {
        anchor: sentence for name in documents for anchor, sentence in entries(env.get_doctree(name))
    }


def entries(document: nodes.document) -> Iterator[tuple[str, str]]:
    """Anchor and first sentence of each entry; one with a formula in it would not read well as a hint."""
    for item in document.findall(nodes.definition_list_item):
        if isinstance(item.parent.parent, glossary):
            paragraph = next(item.findall(nodes.paragraph)).deepcopy()
            for formula in list(paragraph.findall(nodes.math)):
                formula.replace_self(nodes.Text(FORMULA))
            sentence = paragraph.astext().split(". ")[0].replace("\n", " ").rstrip(".:") + "."
            if FORMULA not in sentence:
                yield from ((anchor, sentence) for term in item.findall(nodes.term) for anchor in term["ids"])


def explain(app: Sphinx, document: nodes.document, docname: str) -> None:
    for reference in document.findall(nodes.reference):
        _, _, anchor = reference.get("refuri", "").rpartition("#")
        anchor = anchor or reference.get("refid", "")
        if anchor.startswith("term-"):
            reference["reftitle"] = app.first_sentences.get(anchor, reference.get("reftitle", ""))
