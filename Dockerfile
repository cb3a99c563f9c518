# The server in a container; docs/deploy.md says how to run it, `make prove-container` builds and tries it.

# ---- build: the environment and the page's libraries -----------------------------------------------------------------
FROM python:3.11-slim-bookworm AS build

# cuda: torch as the package index has it; it computes on the CPU too where there is no card.
# cpu: the build for CPUs, 4 GB smaller, from the index TORCH_INDEX_URL or from what pip is configured for.
ARG TORCH_VARIANT=cuda
ARG TORCH_INDEX_URL
# 1: with Ray, for a node of a cluster (docs/cluster.md).
ARG WITH_RAY
# Other indexes than the public ones; pip and npm read these names themselves.
ARG PIP_INDEX_URL
ARG NPM_CONFIG_REGISTRY

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/venv/bin:$PATH

WORKDIR /app
COPY requirements.txt requirements-postgresql.txt requirements-cluster.txt constraints.txt ./
# torch comes first and alone, so that TORCH_INDEX_URL can supply nothing else. The version with +cpu is asked for, so
# that no other build can slip in. openai-whisper requires triton, which only its CUDA kernels import: 690 MB.
# --upgrade-deps: the pip that Python brings is too old for the server, which fetches weights with it.
RUN python -m venv --upgrade-deps /venv \
    && sed -n 's/^torch==[0-9.]*/&+cpu/p' requirements.txt > torch-cpu.txt \
    && case "${TORCH_VARIANT:-cuda}" in \
        cpu) pip install --no-deps ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} -r torch-cpu.txt \
            || { echo "TORCH_VARIANT=cpu needs TORCH_INDEX_URL, see docs/deploy.md" >&2; exit 1; } ;; \
        cuda) ;; \
        *) echo "TORCH_VARIANT is cpu or cuda, not '$TORCH_VARIANT'" >&2; exit 1 ;; \
    esac \
    && pip install -r requirements-postgresql.txt ${WITH_RAY:+-r requirements-cluster.txt} \
    && if [ "$TORCH_VARIANT" = cpu ]; then pip uninstall --yes triton; fi

# In an environment of its own, because Node is installed into it.
COPY package.json package-lock.json .npmrc ./
COPY tools/__init__.py tools/vendor_page.py tools/
RUN python -m venv /tmp/page \
    && /tmp/page/bin/python -m tools.vendor_page

COPY *.py ./
COPY optimizer optimizer
COPY whisper_core whisper_core
COPY web web
COPY cli cli
COPY tools/build_page.py tools/fetch_model.py tools/
COPY templates templates
COPY static static
RUN /tmp/page/bin/python -m tools.build_page \
    && rm -r /tmp/page node_modules package.json package-lock.json .npmrc requirements*.txt constraints.txt torch-cpu.txt \
        tools/vendor_page.py tools/build_page.py \
    && python -m compileall -q .

# ---- final: only what runs -------------------------------------------------------------------------------------------
FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="Whisper Scheduler" \
      org.opencontainers.image.description="A transcription server with openai-whisper's own text"

# A number of its own, so that files on a mounted folder belong to nobody else. A new volume takes over /data's owner.
RUN groupadd --gid 10001 whisper \
    && useradd --uid 10001 --gid whisper --no-create-home --home-dir /data --shell /usr/sbin/nologin whisper \
    && install --directory --owner=whisper --group=whisper --mode=0700 /data

COPY --from=build /venv /venv
COPY --from=build /app /app

# Every address inside the container: who can reach it is decided where its port is published. The server starts only
# when there are accounts: API_KEYS, or a key made with `keys add`; docs/deploy.md says how.
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=5552 \
    DATA_DIR=/data \
    MODELS_DIR=/data/models

WORKDIR /app
USER 10001:10001
VOLUME ["/data"]
EXPOSE 5552
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/readyz', timeout=4)"]

# No shell in between: signals reach the server.
ENTRYPOINT ["python", "main.py"]
