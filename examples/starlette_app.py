"""A scheduler in the lifespan of a web application: Starlette, and FastAPI alike.

The application enqueues in its request handlers; the scheduler runs in the same process and the same event loop, for
as long as the application does. To take the work elsewhere, give both a ``redis://`` address, enter ``scheduler``
here instead of ``scheduler.running()``, and let ``anysched run starlette_app:scheduler`` do the work.

Needs ``pip install starlette httpx``. Serve it with ``uvicorn starlette_app:app``; run as a program it talks to itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anysched import RunNotFound, Scheduler

scheduler = Scheduler()


@scheduler.job(timeout="10s")
async def shorten(text: str, *, words: int) -> str:
    await anyio.sleep(0.05)
    return " ".join(text.split()[:words])


async def enqueue(request: Request) -> Response:
    body = await request.json()
    run = await shorten.enqueue(body["text"], words=body["words"])
    return JSONResponse({"run": run.id}, status_code=202)


async def show(request: Request) -> Response:
    try:
        run = await scheduler.get_run(request.path_params["run_id"])
        info = await run.info()
    except RunNotFound:
        return JSONResponse({"error": "no such run"}, status_code=404)

    result = await run.result() if info.status == "succeeded" else None
    return JSONResponse({"status": info.status, "result": result})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with scheduler.running():  # leaving the block is a graceful stop
        yield


app = Starlette(
    routes=[Route("/texts", enqueue, methods=["POST"]), Route("/texts/{run_id}", show)],
    lifespan=lifespan,
)


async def main() -> None:
    """Be the application's own client: what a server and a browser would do."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        reply = await client.post("/texts", json={"text": "one two three four", "words": 2})
        print("accepted" if reply.status_code == 202 else reply.text)
        where = f"/texts/{reply.json()['run']}"

        while (shown := (await client.get(where)).json())["status"] != "succeeded":  # noqa: ASYNC110 - HTTP has no events
            await anyio.sleep(0.01)

        print(shown["result"])
        print((await client.get("/texts/nonsense")).status_code)


if __name__ == "__main__":
    anyio.run(main)
