"""Users for any harness: an OpenAI-compatible endpoint whose models are users.

requests.py what a harness sends; users.py who answers, and how; transcripts.py what was written;
access.py who may ask; routes.py the endpoint.
"""

from realusersim_nb.simulators.serving.routes import serve_users

__all__ = ["serve_users"]
