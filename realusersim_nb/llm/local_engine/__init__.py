"""The process of the embedded model: OpenVINO's continuous batching behind OpenAI's API, for one machine."""

import sys

sys.modules["openvino_telemetry"] = None  # so that OpenVINO sends nothing
