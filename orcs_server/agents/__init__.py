"""Agents and models: the only place that knows the OpenAI Agents SDK. Importing this package itself does not load the SDK;
`definition`, `context` and `task_input` are free of it too.
"""
