# flowlab with its notebooks, for the CPU:
#   docker build --tag flowlab . && docker run --rm --publish 8888:8888 flowlab
FROM python:3.13-slim

# git records the commit of a run; a compiler serves trainer.compile=true.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git make \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home flowlab
USER flowlab
WORKDIR /home/flowlab/flowlab
ENV PATH=/home/flowlab/venv/bin:$PATH OMP_NUM_THREADS=1

RUN python -m venv /home/flowlab/venv && pip install --no-cache-dir uv
# The CPU build of torch comes first, so no dependency installs the CUDA build.
COPY --chown=flowlab constraints.txt ./
RUN uv pip install --no-cache --constraint constraints.txt --torch-backend=cpu torch
COPY --chown=flowlab . .
RUN uv pip install --no-cache --constraint constraints.txt --torch-backend=cpu --editable '.[dev]'

EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "notebooks"]
