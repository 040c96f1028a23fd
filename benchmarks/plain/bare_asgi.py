"""The shortest application that uvicorn can serve: it reads the body, and answers as many bytes as the server does."""

import sys

import uvicorn


async def app(scope, receive, send):
    await receive()
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"193")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(193)})


how = {"http": "httptools", "loop": "asyncio", "lifespan": "off", "ws": "none", "access_log": False, "log_level": "error"}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), **how)
