# Two images from one file: `web` has no torch (pages, API, migrations), `worker` has it (workers, engine).
#
#     docker build --target web -t pairloop-web .
#     docker build --target worker -t pairloop-worker .
#
# For machines without an NVIDIA GPU the worker's image becomes 5 GB smaller when pip finds PyTorch's build for the CPU:
# give --build-arg PIP_EXTRA_INDEX_URL=… with the address that PyTorch's installation page names for the CPU.

FROM python:3.13-slim AS base
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1 \
    PAIRLOOP_DATA_DIR=/var/lib/pairloop PAIRLOOP_CACHE_DIR=/var/cache/pairloop
RUN useradd --system --uid 10001 --home-dir /var/lib/pairloop pairloop \
    && install -d -o pairloop -g pairloop -m 0700 /var/lib/pairloop /var/cache/pairloop
WORKDIR /opt/pairloop
# The dependencies change less often than the code, so they are a layer of their own.
COPY pyproject.toml constraints.txt hatch_build.py README.md LICENSE NOTICE ./
COPY app/__init__.py app/__init__.py

FROM base AS web
RUN pip install --constraint constraints.txt --editable .
COPY app app
COPY workers workers
COPY migrations migrations
COPY templates templates
COPY translations translations
COPY data data
COPY static static
USER pairloop
EXPOSE 8000
CMD ["pairloop", "web", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS worker
RUN pip install --constraint constraints.txt --editable '.[worker]'
COPY app app
COPY workers workers
COPY migrations migrations
COPY templates templates
COPY translations translations
COPY data data
COPY static static
USER pairloop
EXPOSE 8100
CMD ["pairloop", "worker", "--queues", "default,train"]
