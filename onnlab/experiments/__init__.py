"""The experiments of the book: declared here, run by ``onnlab reproduce NAME``, kept in ``results/``."""

from onnlab.experiments.catalogue import EXPERIMENTS
from onnlab.experiments.catalogue.compensation import compensation
from onnlab.experiments.catalogue.ntkd import ntkd
from onnlab.experiments.catalogue.random_kernels import random_kernels
from onnlab.experiments.catalogue.sclc import sclc
from onnlab.experiments.catalogue.segmentation import segmentation
from onnlab.experiments.catalogue.when_kd_helps import when_kd_helps
from onnlab.experiments.claims import CLAIMS, Claim, Pair, claim, outcome, verdict
from onnlab.experiments.cluster import ClusterError, on_cluster
from onnlab.experiments.consumption import COMPUTED, Consumer, consumers, network_cost
from onnlab.experiments.devices import PROCESSES, CleanRoom, Laboratory, Process
from onnlab.experiments.energy import Meter
from onnlab.experiments.estimates import (
    BUDGETS,
    DEVICES,
    Agreement,
    Budget,
    agreement,
    compare_estimates,
    estimated_and_trained,
    format_estimates,
    spearman,
    trained_accuracy,
)
from onnlab.experiments.extrapolation import parts_of
from onnlab.experiments.lines import LineError, append, check_line, check_rehearsal, read, read_rehearsals
from onnlab.experiments.papers import CONSUMPTIONS, REPORTED, Consumption, Reported, reported
from onnlab.experiments.places import Place, place, scores
from onnlab.experiments.plan import Planned, format_plan, plan, walk
from onnlab.experiments.progress import Progress
from onnlab.experiments.rehearsal import rehearse
from onnlab.experiments.runner import run
from onnlab.experiments.settings import SCALES, Experiment, Row, Run, Trial
from onnlab.experiments.speed import SPEED_TASKS, SpeedTask, measure_speeds
from onnlab.experiments.speed_lines import Speed, read_speeds, speed_tables, write_speeds
from onnlab.experiments.tables import Gain, TableRow, gain, tables_of
from onnlab.experiments.trace import format_trace, runs_of

__all__ = [
    "BUDGETS",
    "CLAIMS",
    "COMPUTED",
    "CONSUMPTIONS",
    "DEVICES",
    "EXPERIMENTS",
    "PROCESSES",
    "REPORTED",
    "SCALES",
    "SPEED_TASKS",
    "Agreement",
    "Budget",
    "Claim",
    "CleanRoom",
    "ClusterError",
    "Consumer",
    "Consumption",
    "Experiment",
    "Gain",
    "Laboratory",
    "LineError",
    "Meter",
    "Pair",
    "Place",
    "Planned",
    "Process",
    "Progress",
    "Reported",
    "Row",
    "Run",
    "Speed",
    "SpeedTask",
    "TableRow",
    "Trial",
    "agreement",
    "append",
    "check_line",
    "check_rehearsal",
    "claim",
    "compare_estimates",
    "compensation",
    "consumers",
    "estimated_and_trained",
    "format_estimates",
    "format_plan",
    "format_trace",
    "gain",
    "measure_speeds",
    "network_cost",
    "ntkd",
    "on_cluster",
    "outcome",
    "parts_of",
    "place",
    "plan",
    "random_kernels",
    "read",
    "read_rehearsals",
    "read_speeds",
    "rehearse",
    "reported",
    "run",
    "runs_of",
    "sclc",
    "scores",
    "segmentation",
    "spearman",
    "speed_tables",
    "tables_of",
    "trained_accuracy",
    "verdict",
    "walk",
    "when_kd_helps",
    "write_speeds",
]
