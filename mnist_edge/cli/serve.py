"""``mnist-edge serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mnist_edge.cli import completing
from mnist_edge.cli.common import PATH, Number, Output, option, subcommand
from mnist_edge.cli.declared import declares, given, runtime_options
from mnist_edge.cli.networks import builds_networks
from mnist_edge.common.errors import UsageError

_MEBI = 2**20


@subcommand(
    "serve",
    "serve",
    "serve lenet vgg --workers 2",
    "serve --all --host 0.0.0.0 --token-file token.txt",
    data=False,
    cls=declares("--runtime", runtime_options),
)
@click.argument("models", nargs=-1, metavar="[MODEL…]", shell_complete=completing.models)
@option("--all", "every", is_flag=True, show_default=False, envvar="MNIST_EDGE_SERVE_ALL", help="Serve every model of the models folder.")
@option(
    "--runtime",
    default="ort",
    metavar="RUNTIME",
    shell_complete=completing.runtimes,
    help="Runtime to run them with; mnist-edge formats lists them.",
)
@option("--threads", type=click.IntRange(1, 256), default=1, help="Threads for the runtime in each worker.")
@option("--require-proof", is_flag=True, show_default=False, help="Exit with code 3 if this runtime is not proven on this kind of machine.")
@option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 lets other machines in.")
@option("--port", type=click.IntRange(0, 65535), default=8000, help="Port to listen on; 0 takes a free one.")
@option("--workers", type=click.IntRange(1, 256), default=1, help="Processes that share the port.")
@option("--token-file", type=PATH, help="File with the token that clients have to send; or set MNIST_EDGE_TOKEN to the token.")
@option("--log/--no-log", default=True, help="Print a line of JSON for each request.")
@option("--max-body", type=Number(0.001, 64), default=8.0, help="Largest request body, in MiB.")
@option(
    "--max-buffered", type=Number(0.001, 65536), default=64.0, help="Largest total of request bodies that a worker holds in memory, in MiB."
)
@option("--max-headers", type=click.IntRange(1024, _MEBI), default=16384, help="Largest request headers, in bytes.")
@option("--max-pixels", type=click.IntRange(784, 4096 * 4096), default=4096 * 4096, help="Largest picture, in pixels.")
@option("--max-requests", type=click.IntRange(1, 65536), default=64, help="Requests that a worker handles at once; further ones get 503.")
@option("--max-connections", type=click.IntRange(1, 65536), default=512, help="Connections that a worker keeps open; further ones get 503.")
@option("--header-timeout", type=Number(0.1, 3600), default=10.0, help="Seconds for a client to send its headers.")
@option("--body-timeout", type=Number(0.1, 3600), default=30.0, help="Seconds for a client to send its body.")
@option("--request-timeout", type=Number(0.1, 3600), default=10.0, help="Seconds for answering a request; after that, it gets 503.")
@option("--idle-timeout", type=Number(0.1, 3600), default=30.0, help="Seconds that an unused connection stays open.")
@option(
    "--stop-timeout", type=Number(0.1, 3600), default=10.0, help="Seconds that requests in progress get when the server is told to stop."
)
@builds_networks
@click.pass_context
def command(
    ctx: click.Context,
    /,
    models: tuple[str, ...],
    every: bool,
    runtime: str,
    threads: int,
    require_proof: bool,
    host: str,
    port: int,
    workers: int,
    token_file: Path | None,
    log: bool,
    max_body: float,
    max_buffered: float,
    max_headers: int,
    max_pixels: int,
    max_requests: int,
    max_connections: int,
    header_timeout: float,
    body_timeout: float,
    request_timeout: float,
    idle_timeout: float,
    stop_timeout: float,
    models_dir: Path | None,
    out: Output,
    **declared: Any,
) -> None:
    """Serve models over HTTP: the Open Inference Protocol, pictures, and a page to draw on. SIGTERM or Ctrl-C ends it.

    Without MODEL, it serves the model trained last, or else the reference model. It answers requests once each model has passed its
    self-test. SIGHUP loads new versions of the models: the workers are replaced one by one, and no request is lost.
    """
    from mnist_edge import runtimes
    from mnist_edge.common.extras import require
    from mnist_edge.serving.settings import Settings
    from mnist_edge.serving.supervisor import Started, serve

    require("mnist-edge serve", "uvicorn", "httptools", "orjson", "python_multipart", install="pip install 'mnist-edge[serve]'")
    if every and models:
        raise UsageError("--all and names of models cannot be used together; leave one out")
    if max_buffered < max_body:
        raise UsageError(
            f"--max-buffered {max_buffered:g} is less than --max-body {max_body:g}, so the largest body would never be accepted; raise it"
        )
    settings = Settings(
        models=models,
        every=every,
        models_dir=models_dir,
        is_folder_typed=ctx.get_parameter_source("models_dir") is click.core.ParameterSource.COMMANDLINE,
        runtime=runtime,
        options=given(ctx, runtimes.get(runtime).options, declared),
        threads=threads,
        require_proof=require_proof,
        host=host,
        port=port,
        workers=workers,
        token=_token(token_file),
        max_body=int(max_body * _MEBI),
        max_buffered=int(max_buffered * _MEBI),
        max_headers=max_headers,
        max_pixels=max_pixels,
        max_requests=max_requests,
        max_connections=max_connections,
        header_seconds=header_timeout,
        body_seconds=body_timeout,
        request_seconds=request_timeout,
        idle_seconds=idle_timeout,
        stop_seconds=stop_timeout,
        log=log,
    )

    def ready(started: Started) -> None:
        for note in started.notes:
            out.problem(f"warning: {note}")
        for model in started.models:
            out.say(f"model: {model['description']}, version {model['version']}")
        if settings.token is None and not started.is_local:
            out.problem(f"warning: anyone who can reach {host} can use this server; to require a token, add --token-file")
        try:
            out.result(
                {"url": started.url, "models": [{key: one[key] for key in ("name", "version")} for one in started.models]}, started.url
            )
        except OSError as error:  # a full disk must not stop a server, as it does not stop one that runs
            out.problem(f"warning: {started.url} and the log cannot be written to standard output: {error.strerror or error}")
        out.say("serving; Ctrl-C ends it")

    serve(settings, ready, out.problem)


def _token(file: Path | None) -> str | None:
    """Return the token: the file's first line, else what ``MNIST_EDGE_TOKEN`` holds. On the command line, every user of the machine could read it."""
    import os

    if file is None:
        token = os.environ.get("MNIST_EDGE_TOKEN")
        if token is None:
            return None
        where = "MNIST_EDGE_TOKEN"
    else:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: {getattr(error, 'strerror', None) or 'not text'}; --token-file names a file with a token") from error
        token, where = lines[0].strip() if lines else "", str(file)
    if len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where}: a token is at least 8 ASCII characters without spaces; openssl rand -hex 32 makes one")
    return token
