# The image of the agent, and of what else Meridian runs in containers: Node.js and a few bundled files; no package manager is run for it, and
# nothing of Pulumi is in it. For production give a base by digest: --build-arg NODE_IMAGE=docker.io/library/node:24-alpine@sha256:…
ARG NODE_IMAGE=docker.io/library/node:24-alpine

FROM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
# No package needs its install script to be bundled.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN node scripts/image.mjs --app /app

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="Meridian" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /app /app
# The user that the pods run as, too; it owns its journal and nothing else.
RUN mkdir -p /etc/meridian /var/lib/meridian && chown 999:999 /var/lib/meridian
USER 999:999
# Peers (gRPC over mutual TLS), admin (/healthz, /readyz, /metrics), what Redis sees as a replica.
EXPOSE 7600 7601 7602
# As components/agent has it.
CMD ["node", "--max-semi-space-size=1", "--heap-growing-percent=150", "/app/dist/agent/main.js", "--config", "/etc/meridian/config/agent.json"]
