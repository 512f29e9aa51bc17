"""A store that worker processes load, apart from the tests, whose imports take long."""

import os
import signal

from mosei_ssl.corpus.feature_store import FeatureStore


class DeadlyStore(FeatureStore):
    """Kills its process, as lack of memory does, where the recording is clip1."""

    def fingerprint(self, recording):
        if recording.stem == "clip1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fingerprint(recording)
