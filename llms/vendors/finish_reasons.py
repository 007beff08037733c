"""The words with which vendors, gateways and servers say why an answer ends, by their meaning; in lower case."""

MEANINGS = {
    "stop": """
        stop eos eos_token end end_turn stop_sequence stop_token stop_str pause_turn complete completed done finished
        success normal
    """,
    "length": """
        length max_tokens max_length max_new_tokens max_output_tokens max_completion_tokens model_length token_limit
        limit length_limit output_limit context_length context_length_exceeded context_window_exceeded
        model_context_window_exceeded
    """,
    "content_filter": """
        content_filter content_filtered contentfilter filter filtered sensitive moderation moderated blocked blocklist
        safety recitation prohibited_content spii image_safety image_prohibited_content image_recitation guardrail
        guardrail_intervened
    """,
    "tool_calls": "tool_calls tool_call tool_use toolcalls tool function_call function_calls",
    "refusal": "refusal refused",
}
BROKEN_OFF = """
    abort aborted error network_error internal_error server_error system_error insufficient_system_resource cancelled
    canceled cancel timeout overloaded failed failure exception malformed_function_call malformed_response
    unexpected_tool_call
"""
REASONS = {word: meaning for meaning, words in MEANINGS.items() for word in words.split()}
FAILURES = frozenset(BROKEN_OFF.split())  # a retry can help
NO_REASON = frozenset(("", "null", "none", "nil", "undefined", "nan", "finish_reason_unspecified"))
