"""From what happens in the agent to what is counted."""

from podnuma.agent.apply import Result
from podnuma.agent.hook import Answered, Waited
from podnuma.agent.metrics import Metrics
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.verdicts import Judged


class MetricsObserver:
    """Counts for `keeper` and `hook`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def wrote(self, result: Result) -> None:
        self._metrics.writes.labels(result.outcome.value.replace(" ", "_")).inc()

    def repaired(self, cgroup: CgroupRef) -> None:
        match cgroup:
            case QosCgroup():
                self._metrics.drift_repairs.labels("qos").inc()
            case PodCgroup():
                self._metrics.drift_repairs.labels("pod").inc()
            case ContainerCgroup():
                self._metrics.drift_repairs.labels("container").inc()

    def judged(self, judged: Judged) -> None:
        self._metrics.pin_latency.observe((judged.after_millis or 0) / 1000)

    def took(self, seconds: float) -> None:
        self._metrics.pass_seconds.observe(seconds)

    def waited(self, waited: Waited) -> None:
        decided = waited.answered is Answered.DECIDED
        self._metrics.hook_wait.labels("yes" if decided else "no").observe(waited.seconds)
        if waited.answered is Answered.SHARED:
            self._metrics.undecided_starts.inc()
        elif waited.answered is Answered.PUT_OFF:
            self._metrics.put_off_starts.inc()
