# The crates are named in Cargo.lock, not in the image: have the SBOM list them too.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true

# The release of Debian that the program runs on below, for its C and C++ libraries; with g++, for CBC.
FROM rust:1.95-bookworm AS chef
RUN cargo install --locked --version 0.1.78 cargo-chef
WORKDIR /build

FROM chef AS plan
COPY . .
RUN cargo chef prepare

FROM chef AS build
COPY --from=plan /build/recipe.json .
# The dependencies alone, CBC among them: a layer that holds until a manifest or Cargo.lock changes.
RUN cargo chef cook --locked --profile dist --package server
COPY . .
RUN cargo build --locked --profile dist --package server --bin globeco

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="GlobeCo investment services" \
      org.opencontainers.image.description="The services behind a portfolio manager's orders, in one program" \
      org.opencontainers.image.licenses="Apache-2.0 AND EPL-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY LICENSE NOTICE /licenses/
COPY --from=build /build/target/dist/globeco /globeco
# By number, since Kubernetes cannot tell whether a name is root.
USER 65532:65532
EXPOSE 8080
# It has no shell and nothing else to ask with.
HEALTHCHECK --interval=30s --timeout=10s --start-period=40s --retries=3 CMD ["/globeco", "health"]
ENTRYPOINT ["/globeco"]
CMD ["serve", "order-generation"]
