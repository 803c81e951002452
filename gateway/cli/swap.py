"""`faceflow swap SOURCE... TARGET -o OUT`: one face swap from the command line.

With `--source NAME=PORTRAIT` and `--map PERSON=NAME`, several sources go to several people of the target.
"""

from __future__ import annotations

from typing import Annotated

import typer

from faceflow.errors import JobError
from faceflow.gateway.cli.local_run import run_job
from faceflow.gateway.cli.request import ages_of, build_job, labels_of, mappings_of, sources_of
from faceflow.gateway.cli.screen import print_json, record_json, result_console, show_record
from faceflow.infrastructure.settings import current_settings
from faceflow.job import FaceOrder, Gender, MaskKind, Priority, Selection, Sensitivity, SpeedPreset


def swap(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... TARGET", help="Portraits of one person, followed by the target video or picture."
        ),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="The file to write: .mp4, .m4v, .mov, .mkv, .png, .jpg, .webp or .avif."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    remote: Annotated[
        bool, typer.Option("--remote", help="Run on one of the server's workers and follow the run.")
    ] = False,
    pool: Annotated[
        str | None, typer.Option("--pool", help="With --remote: the work pool to run on; default: `local`.")
    ] = None,
    dispatch: Annotated[
        bool,
        typer.Option("--dispatch", help="Let the routing rules choose where to run, show why, and follow the run."),
    ] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="NAME=VALUE", help="With --dispatch: a label for the rules to match; can be repeated."
        ),
    ] = None,
    faces: Annotated[
        Selection | None,
        typer.Option(
            "--faces",
            help=(
                "Faces to swap: `all` (the default), `largest` (one person in each shot), `first` (by --order) or "
                "`mapped` (by --map)."
            ),
        ),
    ] = None,
    order: Annotated[
        FaceOrder | None,
        typer.Option("--order", help="With --faces first: the order in which the faces of a shot are counted."),
    ] = None,
    first_faces: Annotated[
        int | None,
        typer.Option(
            "--first", metavar="COUNT", help="With --faces first: how many faces to swap at once; default: 1."
        ),
    ] = None,
    gender: Annotated[Gender | None, typer.Option("--gender", help="Swap only faces judged to be this gender.")] = None,
    age: Annotated[
        str | None,
        typer.Option(
            "--age", metavar="FROM-TO", help="Swap only faces judged to be in this age range: 18-40, 18-, -40."
        ),
    ] = None,
    analyser: Annotated[
        str | None,
        typer.Option(
            "--analyser",
            help=(
                "The face detector: `embedded` (the default), `insightface`, or one listed by `faceflow models list`."
            ),
        ),
    ] = None,
    landmarker: Annotated[
        str | None,
        typer.Option(
            "--landmarker",
            help=(
                "The model that refines the detector's landmarks: `auto` (the default), `none`, `2d106det`, `1k3d68` "
                "or `2dfan4`."
            ),
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME=PORTRAIT", help="A portrait of a named source; can be repeated."),
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="PERSON=NAME",
            help=(
                "The source for one person. PERSON is a number from `faceflow faces TARGET` or a picture of the "
                "person; can be repeated. Everybody else stays unchanged. With a single source, `=NAME` can be left "
                "out."
            ),
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help=(
                "The swapper: `mesh` (the default), one listed by `faceflow models list`, or `auto` for the best one "
                "available."
            ),
        ),
    ] = None,
    restorer: Annotated[
        str | None,
        typer.Option(
            "--restorer", help="The restorer: `detail` (the default), `none`, or one listed by `faceflow models list`."
        ),
    ] = None,
    restore_blend: Annotated[
        float | None, typer.Option("--restore-blend", help="Strength of the restorer, from 0 to 1; default: 1.")
    ] = None,
    restorer_weight: Annotated[
        float | None,
        typer.Option(
            "--restorer-weight",
            help="CodeFormer: 0 gives the model a free hand, 1 stays close to the swapped face; default: 0.5.",
        ),
    ] = None,
    identity_weight: Annotated[
        float | None,
        typer.Option(
            "--identity-weight",
            help=(
                "Neural swappers: below 0.5 keeps some of the target's identity, above 0.5 exaggerates the source; "
                "default: 0.5."
            ),
        ),
    ] = None,
    pixel_boost: Annotated[
        int | None,
        typer.Option(
            "--pixel-boost",
            metavar="PIXELS",
            help="Neural swappers: the size in pixels to swap at, a multiple of the network's own.",
        ),
    ] = None,
    mask: Annotated[
        list[MaskKind] | None,
        typer.Option(
            "--mask",
            help="`box` (the default), `occlusion` or `region`; can be repeated; masks are combined by their minimum.",
        ),
    ] = None,
    occlusion_model: Annotated[
        str | None,
        typer.Option("--occlusion-model", help="The model for `--mask occlusion`; default: `xseg_1`."),
    ] = None,
    crf: Annotated[
        int | None, typer.Option("--crf", help="Encoding quality, 0 to 51; lower is better; default: 18.")
    ] = None,
    preset: Annotated[SpeedPreset | None, typer.Option("--preset", help="Encoder preset; default: `veryfast`.")] = None,
    max_long_side: Annotated[
        int | None, typer.Option("--max-long-side", help="Longest side of the result in pixels; default: 1920.")
    ] = None,
    segment_length: Annotated[
        float | None,
        typer.Option(
            "--segment-length",
            help="Length of a segment in seconds: the most video that is redone after a crash; default: 8.",
        ),
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="The customer or production.")] = None,
    sensitivity: Annotated[
        Sensitivity | None,
        typer.Option("--sensitivity", help="Sensitivity of the media, which limits where it may be processed."),
    ] = None,
    priority: Annotated[Priority | None, typer.Option("--priority", help="Priority of the job.")] = None,
    consent: Annotated[
        str | None,
        typer.Option(
            "--consent",
            help="Name of the person who consented to the use of their face. You declare it by running this command.",
        ),
    ] = None,
    consent_reference: Annotated[
        str | None, typer.Option("--consent-reference", help="Reference of the contract or consent record.")
    ] = None,
) -> None:
    """Swap the face of SOURCE into TARGET.

    Several SOURCE portraits must show the same person; use --source and --map for more people. Run the same command
    again to continue an interrupted run.
    """
    if len(paths) + len(source or ()) < 2:
        raise JobError(
            "job.usage",
            "A swap needs at least one source portrait and a target.",
            "faceflow swap SOURCE... TARGET -o OUT",
        )
    _require_sense(dispatch=dispatch, remote=remote, pool=pool, label=label)
    *portraits, target = paths
    sources = sources_of(portraits, source or ())
    if mapped and faces not in (None, Selection.MAPPED):
        raise JobError(
            "job.usage",
            f"--map cannot be combined with --faces {faces.value}.",
            "Leave out one of the two.",
        )
    if faces is None and (order or first_faces):
        faces = Selection.FIRST
    if (order or first_faces) and faces is not Selection.FIRST:
        raise JobError(
            "job.usage",
            "--order and --first can only be used with --faces first.",
            "Leave them out, or use --faces first.",
        )
    age_from, age_to = ages_of(age)
    job = build_job(
        sources,
        target,
        output,
        swap={
            "engine": engine,
            "selection": Selection.MAPPED if mapped else faces,
            "order": order,
            "first_faces": first_faces,
            "gender": gender,
            "age_from": age_from,
            "age_to": age_to,
            "analyser": analyser,
            "landmarker": landmarker,
            "restorer": restorer,
            "restore_blend": restore_blend,
            "restorer_weight": restorer_weight,
            "identity_weight": identity_weight,
            "pixel_boost_px": pixel_boost,
            "masks": mask,
            "occlusion_model": occlusion_model,
        },
        encoding={"crf": crf, "preset": preset, "max_long_side_px": max_long_side, "segment_s": segment_length},
        consent_subject=consent,
        consent_reference=consent_reference,
        face_map=mappings_of(mapped or (), list(sources)) or None,
        project=project,
        sensitivity=sensitivity,
        priority=priority,
    )
    settings = current_settings()
    request_id = None
    if dispatch:
        from faceflow.gateway.cli.dispatched_run import run_dispatched

        record, request_id = run_dispatched(job, labels_of(label or ()), settings)
    elif remote:
        from faceflow.gateway.cli.remote_run import run_remote

        record = run_remote(job, pool or "local", settings)
    else:
        record = run_job(job, settings)
    if as_json:
        print_json(record_json(record) | ({"request_id": request_id} if request_id else {}))
    else:
        show_record(record)
        if request_id is not None:
            result_console().print(f"to see why it ran there: faceflow decision show {request_id}")


def _require_sense(*, dispatch: bool, remote: bool, pool: str | None, label: list[str] | None) -> None:
    if dispatch and remote:
        raise JobError("job.usage", "--dispatch and --remote cannot be combined.", "Leave out one of the two.")
    if pool is not None and not remote:
        raise JobError(
            "job.usage",
            "--pool can only be used with --remote.",
            "Add --remote. With --dispatch, the rules choose the pool.",
        )
    if label and not dispatch:
        raise JobError("job.usage", "--label can only be used with --dispatch.", "Add --dispatch, or leave it out.")
