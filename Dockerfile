# Two images from one file: `gateway` (no torch) and `worker`.
#   docker build --target gateway -t reelgate-gateway .
#   docker build --target worker --build-arg TORCH_SPEC='torch==2.13.0' -t reelgate-worker .
# BASE: any Debian-like image with Python 3.11 or newer and its venv module.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/reelgate
ENV PATH=/opt/reelgate/bin:${PATH}
WORKDIR /src
# TORCH_SPEC chooses the torch of a worker, so the pins must not name another one.
COPY constraints.txt ./
RUN sed '/^torch==/d' constraints.txt > /tmp/constraints.txt

FROM build AS build-gateway
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY workers workers
COPY gateway gateway
RUN pip install -c /tmp/constraints.txt '.[server,postgres,s3]'

FROM build AS build-worker
ARG TORCH_SPEC=torch==2.13.0
RUN pip install -c /tmp/constraints.txt "${TORCH_SPEC}"
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY workers workers
COPY gateway gateway
RUN pip install -c /tmp/constraints.txt '.[server,worker,avatar]'
# ASSETS_WITHOUT=speech/zh leaves out the Chinese voice, whose licence is non-commercial.
ARG ASSETS_WITHOUT=
RUN REELGATE_ASSETS_DIR=/opt/reelgate/assets reelgate assets fetch ${ASSETS_WITHOUT:+--without "${ASSETS_WITHOUT}"}

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="Reelgate" \
      org.opencontainers.image.description="An open video-generation serving gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/reelgate reelgate \
    && install -d -o reelgate -g reelgate /var/lib/reelgate
COPY configs /etc/reelgate
ENV PATH=/opt/reelgate/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    REELGATE_CONFIG_DIR=/etc/reelgate
WORKDIR /var/lib/reelgate
VOLUME /var/lib/reelgate
STOPSIGNAL SIGTERM
ENTRYPOINT ["reelgate"]

FROM runtime AS gateway
COPY --from=build-gateway /opt/reelgate /opt/reelgate
ENV REELGATE_HOST=0.0.0.0 \
    REELGATE_PORT=8000 \
    REELGATE_STORAGE_DIR=/var/lib/reelgate/files
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["reelgate", "health"]
CMD ["serve", "--migrate"]

FROM runtime AS worker
COPY --from=build-worker /opt/reelgate /opt/reelgate
ENV REELGATE_SPOOL_DIR=/var/lib/reelgate/spool \
    REELGATE_POOL=default \
    REELGATE_DEVICE=cpu \
    REELGATE_ASSETS_DIR=/opt/reelgate/assets \
    HF_HOME=/var/lib/reelgate/huggingface
USER 10001
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 CMD ["reelgate", "worker", "health"]
CMD ["worker"]
