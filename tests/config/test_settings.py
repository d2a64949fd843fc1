"""Where settings come from, who wins, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from orcs_server.config import Settings, warn_of_unknown_variables
from orcs_server.config.sources import variables
from orcs_server.config.tables import Planning
from orcs_server.errors import StartupError
from orcs_server.identity.quotas import NamespaceQuota
from orcs_server.service.creation import retry_policy
from orcs_server.service.requests import RetryWish
from orcs_server.workflow.model import PlanningStrategy, WorkflowSpec
from orcs_server.workflow.plan import check_spec

HOME = {"HOME": "/home/ann"}


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "orcs.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(message: str, **keywords: Any) -> str:
    keywords.setdefault("environ", HOME)
    with pytest.raises(StartupError, match=message) as caught:
        Settings.load(**keywords)
    return str(caught.value)


def test_without_any_source_the_defaults_hold() -> None:
    settings = Settings.load(environ=HOME)
    assert settings.listen == "127.0.0.1:50750"
    assert settings.data == Path("/home/ann/.local/share/orcs/orcs.db")
    assert not settings.insecure_no_auth
    assert (settings.limits.max_tasks, settings.limits.slots, settings.limits.agent_slots) == (10_000, 64, {})
    assert settings.task_timeout_us == 600_000_000
    assert (settings.retry.initial_backoff_us, settings.retry.max_backoff_us) == (1_000_000, 60_000_000)
    assert settings.hook_timeout_us == 5_000_000


def test_what_the_settings_allow_at_most_and_at_least_no_workflow_is_refused_for() -> None:
    month = 30 * 24 * 3600
    most = {"max_attempts": 100, "initial_backoff": month, "max_backoff": month, "multiplier": 10}
    least = {"max_attempts": 1, "initial_backoff": 1e-6, "max_backoff": 1e-6, "multiplier": 1}
    for retry, timeout in ((most, month), (least, 1e-6)):
        settings = Settings.load({"retry": retry, "task_timeout": timeout}, environ=HOME)
        policy = retry_policy(RetryWish(), settings)
        assert check_spec(WorkflowSpec("Title", task_timeout_us=settings.task_timeout_us, retry=policy)) == ()
    for name, value in most.items():
        refused(name.replace("_", "-"), flags={"retry": most | {name: value + 1}})
    refused("task-timeout", flags={"task_timeout": month + 1})


def test_xdg_data_home_is_followed_if_absolute() -> None:
    assert Settings.load(environ={"XDG_DATA_HOME": "/d"}).data == Path("/d/orcs/orcs.db")
    assert Settings.load(environ=HOME | {"XDG_DATA_HOME": "d"}).data == Path("/home/ann/.local/share/orcs/orcs.db")
    assert Settings.load(environ={}).data == Path.home() / ".local/share/orcs/orcs.db"


def test_flag_beats_environment_beats_file_beats_default(toml: Any) -> None:
    file = toml("offline_pace = 1\ntask_timeout = 1\n[limits]\nslots = 1\nmax_tasks = 1\n")
    environ = HOME | {"ORCS_TASK_TIMEOUT": "2", "ORCS_LIMITS_SLOTS": "2", "ORCS_LIMITS_MAX_TASKS": "2"}
    settings = Settings.load({"limits": {"slots": 3, "max_tasks": None}, "hooks": None}, file, environ)
    assert (settings.offline_pace, settings.task_timeout) == (1, 2)
    assert (settings.limits.max_tasks, settings.limits.slots) == (2, 3)


def test_the_environment_can_name_the_file(toml: Any) -> None:
    assert Settings.load(environ=HOME | {"ORCS_CONFIG": str(toml("log_level = 'debug'"))}).log_level == "DEBUG"


def test_a_file_in_the_working_directory_is_not_read(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toml("log_level = 'DEBUG'").parent)
    assert Settings.load(environ=HOME).log_level == "INFO"


def test_every_setting_has_a_variable_of_its_own() -> None:
    names = variables(Settings)
    assert len(set(names)) == len(names) == len(set(names.values()))
    for expected in ("ORCS_OFFLINE_PACE", "ORCS_HOOKS", "ORCS_LISTEN", "ORCS_MODEL_BASE_URL", "ORCS_LIMITS_SLOTS"):
        assert expected in names


def test_a_table_in_the_environment_is_json() -> None:
    environ = HOME | {
        "ORCS_AGENTS": '{"legal": {"instructions": "Be careful.", "max_turns": 3}}',
        "ORCS_LIMITS_AGENT_SLOTS": '{"legal": 2}',
        "ORCS_MODEL_SETTINGS": '{"temperature": 0.1}',
    }
    settings = Settings.load(environ=environ)
    assert settings.agents["legal"].max_turns == 3
    assert settings.limits.agent_slots == {"legal": 2}
    assert settings.model.settings == {"temperature": 0.1}


def test_models_of_any_name_have_prices(toml: Any) -> None:
    settings = Settings.load(
        config_file=toml("[prices.'org/model:7b']\ninput = 2_000_000\noutput = 8_000_000\n"), environ=HOME
    )
    price = settings.prices["org/model:7b"]
    assert (price.input, price.cached_input, price.output) == (2_000_000, None, 8_000_000)


def test_a_namespace_has_the_defaults_but_where_its_own_table_says_otherwise(toml: Any) -> None:
    file = toml(
        "[namespace_defaults]\nweight = 2\nmax_workflows = 5\ntokens_per_day = 100\n"
        "[namespaces.red]\nmax_workflows = 7\nmax_bytes = 9\n[namespaces.blue]\nweight = 1.0\n"
    )
    quotas = Settings.load(config_file=file, environ=HOME | {"ORCS_NAMESPACE_DEFAULTS_MAX_WATCHES": "3"}).quotas
    everybody = NamespaceQuota(weight=2, max_workflows=5, tokens_per_day=100, max_watches=3)
    assert quotas.of("anybody") == everybody
    assert quotas.of("red") == replace(everybody, max_workflows=7, max_bytes=9)
    assert quotas.of("blue") == replace(everybody, weight=1)
    assert Settings.load(environ=HOME).quotas.of("anybody") == NamespaceQuota()


@pytest.mark.parametrize("table", ["namespace_defaults", "namespaces.red"])
def test_a_quota_of_cost_is_refused_where_nothing_has_a_price(toml: Any, table: str) -> None:
    text = f"[{table}]\ncost_per_day = 5\n"
    assert f"`{table}.cost_per_day` limits nothing" in refused("no model has a price", config_file=toml(text))
    priced = toml(f"{text}[prices.x]\ninput = 1\noutput = 1\n")
    assert Settings.load(config_file=priced, environ=HOME).quotas.of("red").cost_per_day == 5
    assert Settings.load(config_file=toml(text), environ=HOME | {"ORCS_HOOKS": "a:b"}).quotas.of("red").limits_days


def test_a_variable_that_is_no_json_is_named() -> None:
    refused("ORCS_AGENTS is not a JSON object", environ=HOME | {"ORCS_AGENTS": "{"})


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.load(environ=HOME | {"ORCS_LISTEN": "", "ORCS_HOOKS": ""}).hooks is None


def test_an_unknown_variable_is_only_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    environ = HOME | {"ORCS_SERVER": "x", "ORCS_TOKEN": "x", "ORCS_SLOTZ": "1"}
    Settings.load(environ=environ)
    assert not caplog.text
    warn_of_unknown_variables(environ)
    assert "ORCS_SLOTZ" in caplog.text
    assert "ORCS_SERVER" not in caplog.text


@pytest.mark.parametrize(
    ("text", "key", "advice"),
    [
        ("[limits]\nmax_task = 1", "limits.max_task", "did you mean `max_tasks`?"),
        ("lisen = 'a:1'", "lisen", "did you mean `listen`?"),
        ("[agents.legal]\ninstruction = 'x'", "agents.legal.instruction", "did you mean `instructions`?"),
        ("[namespaces.a]\nweigth = 1", "namespaces.a.weigth", "did you mean `weight`?"),
        ("[namespaces.a]\nmax_workflow = 1", "namespaces.a.max_workflow", "did you mean `max_workflows`?"),
        (
            "[namespace_defaults]\ntoken_per_day = 1",
            "namespace_defaults.token_per_day",
            "did you mean `tokens_per_day`?",
        ),
        ("zzzzzz = 1", "zzzzzz", "remove it"),
    ],
)
def test_an_unknown_key_is_refused_with_key_file_and_advice(toml: Any, text: str, key: str, advice: str) -> None:
    file = toml(text)
    assert refused("is not a setting", config_file=file) == f"`{key}` in {file} is not a setting: {advice}"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[limits]\nmax_tasks = 10001", "limits.max_tasks"),
        ("[limits]\nslots = 0", "limits.slots"),
        ("[limits.agent_slots]\nlegal = 0", "limits.agent_slots.legal"),
        ("offline_pace = inf", "offline_pace"),
        ("task_timeout = 0", "task_timeout"),
        ("task_timeout = 'soon'", "task_timeout"),
        ("log_level = 3", "log_level"),
        ("listen = '::1:80'", "listen"),
        ("agent_registry = 'no colon'", "agent_registry"),
        ("[retry]\nmax_backoff = 0.5", "retry"),
        ("[model]\nbase_url = 'ftp://x'", "model.base_url"),
        ("[model]\nbase_url = 'https://user:secret@x'", "model.base_url"),
        ("[namespaces.'a b']\nweight = 1", "namespaces.a b"),
        ("[namespaces.a]\nmax_workflows = 0", "namespaces.a.max_workflows"),
        ("[namespaces.a]\ntokens_per_day = 1.5", "namespaces.a.tokens_per_day"),
        ("[namespace_defaults]\nmax_bytes = -1", "namespace_defaults.max_bytes"),
        ("[namespace_defaults]\nmax_watches = 'all'", "namespace_defaults.max_watches"),
        ("limits = 3", "limits"),
        ("[prices.'gpt-4.1']\ninput = -1\noutput = 1", "prices.gpt-4.1.input"),
        ("[prices.'gpt-4.1']\ninput = 0.15\noutput = 1", "prices.gpt-4.1.input"),
        ("[prices.'gpt-4.1']\ninput = 1", "prices.gpt-4.1.output"),
        ("[prices.'a b']\ninput = 1\noutput = 1", "prices.a b"),
    ],
)
def test_a_wrong_value_is_refused_with_key_and_file(toml: Any, text: str, key: str) -> None:
    file = toml(text)
    message = refused("is wrong", config_file=file)
    assert message.startswith(f"`{key}` in {file} is wrong: ")
    assert "secret" not in message


def test_a_wrong_flag_and_a_wrong_variable_are_named_as_the_user_wrote_them() -> None:
    assert refused("is wrong", flags={"task_timeout": -1}).startswith("the flag --task-timeout is wrong")
    assert refused("is wrong", environ=HOME | {"ORCS_LIMITS_SLOTS": "x"}).startswith(
        "the environment variable ORCS_LIMITS_SLOTS is wrong"
    )
    assert refused("is wrong", environ=HOME | {"ORCS_AGENTS": '{"a": {"max_turns": 0}}'}).startswith(
        "the environment variable ORCS_AGENTS is wrong"
    )
    assert refused("is not a setting", flags={"zzz": 1}).startswith("the flag --zzz is not a setting")


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        ({"agent_registry": "own_agents"}, {}, "the flag --agents is wrong: write MODULE:NAME"),
        ({"hooks": "own_hooks"}, {}, "the flag --hooks is wrong: write MODULE:NAME"),
        (
            {},
            {"ORCS_AGENT_REGISTRY": "own"},
            "the environment variable ORCS_AGENT_REGISTRY is wrong: write MODULE:NAME",
        ),
        (
            {},
            {"ORCS_MODEL_BASE_URL": "foo"},
            "ORCS_MODEL_BASE_URL is wrong: write the address of the model server, as in http",
        ),
        ({}, {"ORCS_LOG_LEVEL": "loud"}, "ORCS_LOG_LEVEL is wrong: write debug, info, warning or error"),
        ({}, {"ORCS_LOG_FORMAT": "xml"}, "ORCS_LOG_FORMAT is wrong: write 'plain' or 'json'"),
        ({}, {"ORCS_LIMITS_SLOTS": "many"}, "ORCS_LIMITS_SLOTS is wrong: write a whole number"),
        ({}, {"ORCS_LIMITS_SLOTS": "0"}, "ORCS_LIMITS_SLOTS is wrong: write at least 1"),
        ({}, {"ORCS_OFFLINE_PACE": "soon"}, "ORCS_OFFLINE_PACE is wrong: write a number"),
        ({}, {"ORCS_OFFLINE_PACE": "inf"}, "ORCS_OFFLINE_PACE is wrong: write a number that is not infinite"),
        ({}, {"ORCS_INSECURE_NO_AUTH": "maybe"}, "ORCS_INSECURE_NO_AUTH is wrong: write true or false"),
        ({}, {"ORCS_AGENTS": "3"}, "ORCS_AGENTS is wrong: write a table, or in the environment a JSON object"),
        ({}, {"ORCS_AGENTS": '{"A b": {}}'}, "ORCS_AGENTS is wrong: write an agent's id"),
    ],
)
def test_what_is_wrong_is_told_in_the_words_of_the_documentation(
    flags: dict[str, Any], environ: dict[str, str], words: str
) -> None:
    message = refused(re.escape(words), flags=flags, environ=HOME | environ)
    assert "String should" not in message
    assert "Input should" not in message


def test_all_wrong_settings_are_told_at_once(toml: Any) -> None:
    message = refused("2 settings are wrong", config_file=toml("task_timeout = 0\nzzz = 1"))
    assert "task_timeout" in message
    assert "zzz" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a = \nb = 1", "not valid TOML.*line 1"), (b"\xff", "not UTF-8 at byte 0"), (b"#" * 1_100_000, "larger than")],
)
def test_a_file_that_is_no_toml_is_refused(toml: Any, content: bytes, message: str) -> None:
    refused(message, config_file=toml(content))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    refused("No such file", config_file=tmp_path / "none.toml")
    refused("Is a directory", config_file=tmp_path)


def test_hooks_never_come_from_a_file(toml: Any) -> None:
    refused("use --hooks or ORCS_HOOKS", config_file=toml("hooks = 'a.b:c'"))
    assert Settings.load({"hooks": "a.b:c"}, environ=HOME).hooks == "a.b:c"
    assert Settings.load(environ=HOME | {"ORCS_HOOKS": "a.b:c"}).hooks == "a.b:c"


def test_paths_of_a_file_are_relative_to_it_and_the_others_to_the_working_directory(toml: Any) -> None:
    file = toml("data = 'state/orcs.db'")
    assert Settings.load(config_file=file, environ=HOME).data == file.parent / "state/orcs.db"
    assert Settings.load({"data": Path("~/x.db")}, environ=HOME).data == Path("/home/ann/x.db")
    assert Settings.load(environ=HOME | {"ORCS_DATA": "x.db"}).data == Path("x.db")


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("pem")
    return {"tls_certificate": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}


def test_an_address_that_others_reach_needs_tls_and_tokens(tls: dict[str, str]) -> None:
    refused("travel in the clear: set --tls-certificate and --tls-key", flags={"listen": "0.0.0.0:1"})
    refused("tokens must stay on", flags={"listen": "0.0.0.0:1", "insecure_no_auth": True, **tls})
    settings = Settings.load({"listen": "0.0.0.0:1", **tls}, environ=HOME)
    assert (settings.address.host, settings.address.port) == ("0.0.0.0", 1)
    assert Settings.load({"insecure_no_auth": True, "listen": "[::1]:0"}, environ=HOME).insecure_no_auth


def test_half_of_tls_and_files_that_are_not_there_are_refused(tls: dict[str, str], tmp_path: Path) -> None:
    refused("set --tls-key or ORCS_TLS_KEY too", flags={"tls_certificate": tls["tls_certificate"]})
    refused("set --tls-certificate or ORCS_TLS_CERTIFICATE too", flags={"tls_key": tls["tls_key"]})
    refused("none.pem cannot be read", flags=tls | {"tls_key": str(tmp_path / "none.pem")})
    refused("secret cannot be read", flags={"token_file": tmp_path / "secret"})


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load(environ=HOME).listen = "0.0.0.0:1"


def test_strategies_are_those_of_the_core() -> None:
    assert get_args(Planning.model_fields["strategy"].annotation) == tuple(PlanningStrategy)


def test_offline_is_in_use_only_without_key_and_base_url() -> None:
    settings = Settings.load(environ=HOME)
    assert settings.model_choice(HOME).provider == "offline"
    assert settings.model_choice({"OPENAI_API_KEY": " "}).provider == "offline"
    online = settings.model_choice({"OPENAI_API_KEY": "sk-1"})
    assert (online.provider, online.name, online.api) == ("openai", "gpt-4.1", "responses")
    assert "sk-1" not in repr(online)
    asked = Settings.load({"model": {"provider": "offline"}}, environ=HOME)
    assert asked.model_choice({"OPENAI_API_KEY": "sk-1"}).provider == "offline"


def test_a_server_of_ones_own_needs_no_key_but_the_name_of_a_model() -> None:
    model = {"base_url": "http://127.0.0.1:1/v1", "name": "llama"}
    choice = Settings.load({"model": model}, environ=HOME).model_choice({})
    assert (choice.provider, choice.name, choice.base_url, choice.api) == (
        "openai",
        "llama",
        "http://127.0.0.1:1/v1",
        "chat_completions",
    )
    assert choice.timeout_us == 300_000_000
    with pytest.raises(StartupError, match="set ORCS_MODEL_NAME") as caught:
        Settings.load(environ=HOME).model_choice({"OPENAI_BASE_URL": "http://ann:secret@x/v1?key=secret"})
    assert "model server at http://x/v1 has" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_of_a_base_url_only_what_is_no_secret_is_shown() -> None:
    settings = Settings.load({"model": {"name": "llama"}}, environ=HOME)
    choice = settings.model_choice({"OPENAI_BASE_URL": "https://ann:secret@x:8/v1?key=secret"})
    assert (choice.shown_base_url, choice.server) == ("https://x:8/v1", "https://x:8/v1")
    assert settings.model_choice({}).shown_base_url == ""
    assert settings.model_choice({}).server == "offline"
    for wrong in ("foo", "http://ann:se/cret@x", "http://ann:se?cret@x"):
        with pytest.raises(StartupError, match="OPENAI_BASE_URL is wrong: write the address") as caught:
            settings.model_choice({"OPENAI_BASE_URL": wrong})
        assert wrong not in str(caught.value)


def test_openai_without_key_and_base_url_is_refused_by_the_name_of_the_variable() -> None:
    settings = Settings.load({"model": {"provider": "openai", "api_key_env": "MY_KEY"}}, environ=HOME)
    with pytest.raises(StartupError, match="environment variable MY_KEY"):
        settings.model_choice({"OPENAI_API_KEY": "sk-1"})
