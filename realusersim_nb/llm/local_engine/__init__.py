"""The process of the embedded model: OpenVINO's continuous batching behind OpenAI's API, for one machine."""
