"""docs/metrics.md is the list of the metrics that the code has; `python -m tests.unit.test_metrics_doc` writes it anew."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from prometheus_client.metrics import MetricWrapperBase

from services.ingest import metrics as ingest_metrics
from services.leads import metrics as leads_metrics
from services.notifier import metrics as notifier_metrics
from services.runtime import metrics as runtime_metrics
from services.runtime import ops as runtime_ops
from services.sequencer import metrics as sequencer_metrics

PAGE: Final = Path(__file__).parents[2] / "docs/metrics.md"
HEAD: Final = """# Metrics

All metrics of Ringback's own, on `/metrics` of each operations port. [operations.md](operations.md#health) says which to watch. A
test compares this page with the code; `python -m tests.unit.test_metrics_doc` writes it.
"""
MODULES: Final = {
    "Every service": (runtime_metrics, runtime_ops),
    "ingest and the reconciler": (ingest_metrics,),
    "The leads service": (leads_metrics,),
    "The sequencer and the timekeeper": (sequencer_metrics,),
    "The notifier": (notifier_metrics,),
}


def metrics() -> Mapping[str, list[MetricWrapperBase]]:
    """Return the metrics by the heading they stand under, in the order of the code."""
    return {
        heading: [
            found for module in modules for found in vars(module).values() if isinstance(found, MetricWrapperBase)
        ]
        for heading, modules in MODULES.items()
    }


def line(metric: MetricWrapperBase) -> str:
    """Return the row of one metric."""
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    meaning = family.documentation.replace("|", "\\|")
    return f"| `{name}` | {family.type} | {labels} | {meaning} |"


def page() -> str:
    """Return the page as it should be."""
    parts = [HEAD]
    for heading, found in metrics().items():
        rows = "\n".join(line(metric) for metric in found)
        parts.append(f"\n## {heading}\n\n| metric | kind | labels | what it says |\n|---|---|---|---|\n{rows}\n")
    return "".join(parts)


def test_page_names_every_metric_of_the_code_and_no_other() -> None:
    assert PAGE.read_text() == page()


if __name__ == "__main__":
    PAGE.write_text(page())
