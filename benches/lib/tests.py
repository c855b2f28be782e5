"""What the benches conclude from given figures. Run: python3 -m unittest discover -s benches/lib -p tests.py"""

import os
import random
import subprocess
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import commits  # noqa: E402
import postgres  # noqa: E402
import servers  # noqa: E402
import shapes  # noqa: E402
import stalls  # noqa: E402
from gates import CPU, GATES, P50, P99, exit_status, judged, verdict_of  # noqa: E402
from pairs import Ratio, ratio_of  # noqa: E402
from results import COLUMNS, Results, markdown, target_rows  # noqa: E402
from runs import Run, cores_beside, parse_cores  # noqa: E402

LIMITS = {"cost": 1.08, "latency": 1.5}


def run(server="base", status=0, cpu=0.5, waiting=0.0, warnings=(), shape="rate-20", **figures) -> Run:
    figures = {"generator_cpu_share": cpu, "generator_waiting_share": waiting, **figures}
    return Run(server, shape, status, figures, list(warnings))


def pairs_of(ratio: float, noise: float, seed: int, count: int = 10) -> list[tuple[float, float]]:
    source = random.Random(seed)
    return [(source.lognormvariate(0, noise), ratio * source.lognormvariate(0, noise)) for _ in range(count)]


class Intervals(unittest.TestCase):
    def test_equal_figures_have_a_ratio_of_one(self):
        self.assertEqual(ratio_of([(2.0, 2.0)] * 10), Ratio(1, 1, 1))

    def test_the_same_pairs_give_the_same_interval(self):
        pairs = pairs_of(1.1, 0.1, seed=1)
        self.assertEqual(ratio_of(pairs), ratio_of(pairs))

    def test_the_interval_holds_the_median_and_one_wild_pair_does_not_move_it(self):
        calm = ratio_of([(1.0, 1.0 + step / 100) for step in range(10)])
        wild = ratio_of([(1.0, 1.0 + step / 100) for step in range(9)] + [(1.0, 50.0)])
        self.assertTrue(calm.low <= calm.median <= calm.high)
        self.assertLess(abs(wild.median - calm.median), 0.02)
        self.assertLess(wild.low, 1.08)

    def test_noise_alone_is_not_slower(self):
        for seed in range(100):
            ratio = ratio_of(pairs_of(1.0, 0.08, seed))
            self.assertNotEqual(verdict_of(CPU, ratio, 10, LIMITS, 10), "SLOWER", (seed, ratio))

    def test_a_fifth_more_is_slower_in_little_noise(self):
        for seed in range(100):
            ratio = ratio_of(pairs_of(1.2, 0.02, seed))
            self.assertEqual(verdict_of(CPU, ratio, 10, LIMITS, 10), "SLOWER", (seed, ratio))


class Verdicts(unittest.TestCase):
    def test_only_an_interval_that_is_wholly_over_the_limit_is_slower(self):
        self.assertEqual(verdict_of(CPU, Ratio(1.1, 1.07, 1.19), 10, LIMITS, 10), "ok")
        self.assertEqual(verdict_of(CPU, Ratio(1.3, 1.07, 1.5), 10, LIMITS, 10), "unsure")
        self.assertEqual(verdict_of(CPU, Ratio(1.3, 1.09, 1.5), 10, LIMITS, 10), "SLOWER")
        self.assertEqual(verdict_of(CPU, Ratio(0.8, 0.7, 0.9), 10, LIMITS, 10), "faster")
        self.assertEqual(verdict_of(P50, Ratio(1.3, 1.2, 1.5), 10, LIMITS, 10), "ok")
        self.assertEqual(verdict_of(P99, Ratio(9, 9, 9), 10, LIMITS, 10), "not a gate")
        self.assertEqual(verdict_of(CPU, Ratio(9, 9, 9), 9, LIMITS, 10), "not judged")
        self.assertEqual(verdict_of(CPU, None, 0, LIMITS, 10), "not judged")

    def test_a_saturated_generator_makes_a_pair_void(self):
        sound = (run(server_cpu_us_per_delivery=1.0), run(server_cpu_us_per_delivery=1.2))
        void = (run(server_cpu_us_per_delivery=1.0, cpu=0.97), run(server_cpu_us_per_delivery=1.2))
        self.assertEqual(judged("rate-20", CPU, [sound] * 10, LIMITS, 10).verdict, "SLOWER")
        row = judged("rate-20", CPU, [sound] * 9 + [void] * 3, LIMITS, 10)
        self.assertEqual((row.verdict, row.pairs), ("not judged", 9))

    def test_a_generator_that_was_kept_waiting_makes_latencies_void_but_not_processor_time(self):
        pair = (run(server_cpu_us_per_delivery=1.0, delivery_p50_us=9, waiting=0.6),) * 2
        self.assertEqual(judged("rate-20", CPU, [pair] * 10, LIMITS, 10).verdict, "ok")
        self.assertEqual(judged("rate-20", P50, [pair] * 10, LIMITS, 10).verdict, "not judged")

    def test_the_exit_status(self):
        def row(gate, pairs, ratio=1.2):
            pair = (run(**{gate.figure: 1.0}), run(**{gate.figure: ratio}))
            return judged("rate-20", gate, [pair] * pairs, LIMITS, 10)

        lost = Run("head", "rate-20", 1)
        self.assertEqual(exit_status([row(CPU, 10, 1.0)], []), 0)
        self.assertEqual(exit_status([row(CPU, 10)], []), 1)
        self.assertEqual(exit_status([row(CPU, 10, 1.0)], [lost]), 1)
        self.assertEqual(exit_status([row(CPU, 10, 1.0)], [Run("base", "rate-20", 1)]), 0)
        self.assertEqual(exit_status([row(CPU, 10, 1.0)], [Run("base", "rate-20", 2)]), 2)
        self.assertEqual(exit_status([row(CPU, 9, 1.0)], []), 3)
        self.assertEqual(exit_status([row(CPU, 10, 1.0), row(P50, 9)], []), 0)
        self.assertEqual(exit_status([row(CPU, 9), row(CPU, 10)], []), 1)


class Tables(unittest.TestCase):
    def test_a_median_is_over_the_runs_without_a_warning_if_there_are_any(self):
        results = Results([run("bun", x=1.0), run("bun", x=3.0), run("bun", x=90.0, warnings=["noise"]), run("bun", status=1, x=0.0)])
        self.assertEqual(results.median("bun", "rate-20", "x"), 2.0)
        self.assertIsNone(results.median("ws", "rate-20", "x"))
        self.assertEqual(Results([run("bun", x=90.0, warnings=["noise"])]).median("bun", "rate-20", "x"), 90.0)

    def test_a_row_is_as_long_as_the_heading_for_every_kind(self):
        for shape in shapes.SHAPES.values():
            lines = Results([run("parlor", shape=shape.name)]).table(shape, ["parlor", "ws"]).splitlines()
            self.assertEqual(len(lines), 3)
            self.assertEqual({line.count("|") for line in lines}, {lines[0].count("|")})
            self.assertIn(shape.kind, COLUMNS)
            self.assertIn(shape.kind, GATES)

    def test_ratios_are_of_medians_and_lines_without_figures_are_left_out(self):
        results = Results([
            run("parlor", server_cpu_us_per_delivery=2.0), run("bun", server_cpu_us_per_delivery=4.0),
            run("parlor", shape="storm", server_cpu_us_per_recovery=9.0),
        ])  # fmt: skip
        self.assertEqual(results.ratios(["bun", "ws"], "parlor").splitlines()[2:], ["| CPU/delivery, fixed rate | 20 | 0.50 | - |"])

    def test_targets_are_met_missed_or_not_measured(self):
        rows = target_rows(Results([run("parlor", shape="idle-20", bytes_per_connection_and_rooms=700.0, connects_per_second=10.0)])).splitlines()
        self.assertIn("| parlor, idle: bytes/connection | 700 | <= 4096 | met |", rows)
        self.assertIn("| parlor: connects/s | 10 | >= 5000 | MISSED |", rows)
        self.assertIn("| parlor-sqlite: connects/s | - | >= 5000 | not measured |", rows)

    def test_markdown(self):
        self.assertEqual(markdown([["a", "b"], ["1", "2"]]), "| a | b |\n| --- | --- |\n| 1 | 2 |")


class Commits(unittest.TestCase):
    TEXT = """# TYPE parlor_store_commit_seconds histogram
parlor_store_commit_seconds_bucket{le="0.001000"} 0
parlor_store_commit_seconds_bucket{le="0.002000"} 60
parlor_store_commit_seconds_bucket{le="0.004000"} 100
parlor_store_commit_seconds_bucket{le="+Inf"} 100
parlor_store_commit_seconds_count 100
"""

    def test_a_quantile_lies_between_two_bounds(self):
        found = commits.figures(self.TEXT)
        self.assertEqual(found["batches"], 100)
        self.assertAlmostEqual(found["batch_p50_ms"], 1 + 50 / 60)
        self.assertAlmostEqual(found["batch_p99_ms"], 2 + 2 * 39 / 40)

    def test_what_is_longer_than_all_bounds_counts_as_the_last_of_them(self):
        self.assertEqual(commits.quantile([(1.0, 1), (float("inf"), 3)], 0.9), 1.0)

    def test_a_server_without_batches_has_no_figures(self):
        self.assertEqual(commits.figures("parlor_connections 3\n"), {})
        self.assertEqual(commits.figures(self.TEXT.replace("60", "0").replace("100", "0")), {})


class Postgres(unittest.TestCase):
    def test_the_share_is_the_median_of_the_pairs_and_half_is_enough(self):
        self.assertEqual(postgres.share_verdict([(100, 50), (100, 60), (100, 10)]).word, "met")
        self.assertEqual(postgres.share_verdict([(100, 49), (100, 60), (100, 10)]).word, "missed")
        self.assertEqual(postgres.share_verdict([]).word, "not judged")

    def test_an_acknowledgement_may_take_less_than_three_batches_of_its_own_run(self):
        enough = postgres.MIN_BATCHES
        self.assertEqual(postgres.latency_verdict([(5.9, 2, enough), (50.0, 20, enough), (99.0, 2, enough)]).word, "met")
        self.assertEqual(postgres.latency_verdict([(6.0, 2, enough)]).word, "missed")
        self.assertEqual(postgres.latency_verdict([(50.0, 2, enough), (50.0, 20, enough), (50.0, 2, enough)]).word, "missed")
        self.assertEqual(postgres.latency_verdict([(1.0, 2, enough - 1)]).word, "not judged")
        self.assertEqual(postgres.latency_verdict([]).word, "not judged")

    def test_what_is_not_judged_is_no_success(self):
        met, missed, unknown = (postgres.Verdict("", 1, word) for word in ("met", "missed", "not judged"))
        self.assertEqual([postgres.exit_status(of) for of in ([met, met], [met, missed], [met, unknown], [missed, unknown])], [0, 1, 3, 1])

    def test_the_url_with_its_password_is_not_in_the_command(self):
        server = servers.parlor("postgres", Path("/bin/echo"), "postgres://u:hidden@127.0.0.1/bench", Path("/nowhere"))
        self.assertNotIn("hidden", " ".join(server.command(1, Path("/nowhere"))))
        self.assertIn("hidden", server.environment["PARLOR_DATABASE"])


class Cores(unittest.TestCase):
    def test_the_generator_gets_others_where_there_are_any(self):
        self.assertEqual(cores_beside({0, 1}, {0, 1, 2, 3}), {2, 3})
        self.assertEqual(cores_beside({0, 1}, {0, 1}), {0, 1})


class Stalls(unittest.TestCase):
    def test_only_long_steps_of_the_clock_are_gaps(self):
        clock = iter([0, 500_000, 1_500_000, 4_000_000, 4_999_999, 12_000_000]).__next__
        self.assertEqual(stalls.long_gaps(clock, 5_000_000), [2.5, 7.000001])

    def test_says_how_often_how_much_and_how_long(self):
        self.assertEqual(stalls.described(1, [], 2.0), "core 1 never")
        self.assertEqual(stalls.described(0, [4.0, 12.0], 2.0), "core 0 2 times, 0.8 % of the time, at most 12.0 ms")

    def test_watches_real_cores(self):
        core = min(os.sched_getaffinity(0))
        self.assertRegex(stalls.measured({core}, 0.05), f"in 0.05 s before the runs: core {core} ")


class Endings(unittest.TestCase):
    def test_a_program_that_is_waited_for_is_asked_to_end_and_has_the_time_to(self):
        library = Path(__file__).resolve().parent
        shell = "trap 'echo ended; exit' TERM; echo started; while :; do sleep 0.05; done"
        script = f"import sys; sys.path.insert(0, {str(library)!r}); import endings; endings.leave_tidily(); endings.wait_for(['sh', '-c', {shell!r}])"
        with subprocess.Popen([sys.executable, "-B", "-c", script], stdout=subprocess.PIPE, text=True) as process:
            self.assertEqual(process.stdout.readline(), "started\n")
            process.terminate()
            try:
                said, _ = process.communicate(timeout=30)
            finally:
                process.kill()
        self.assertEqual((said, process.returncode), ("ended\n", 143))


class Arguments(unittest.TestCase):
    def test_a_shape_that_does_not_exist_is_named(self):
        with self.assertRaisesRegex(ValueError, "rate-7"):
            shapes.chosen("rate-20,rate-7", shapes.SHAPES)
        with self.assertRaises(ValueError):
            shapes.chosen("", shapes.SHAPES)

    def test_cores(self):
        for bad in ("0", "0,0", "0,x", "0,99999"):
            with self.assertRaises(ValueError, msg=bad):
                parse_cores(bad)

    def test_a_server_without_a_flag_is_started_without_it_and_that_is_said(self):
        work = Path("/nowhere")
        server = servers.parlor("base", Path("/bin/echo"), "memory", work)
        self.assertEqual(len(server.notes), len(servers.LIMITS_OFF))
        command = server.command(1, work)
        self.assertNotIn("--messages-per-second", command)
        self.assertEqual(command[-2:], ["--database", "memory:"])

    def test_the_commands_tell_how_they_are_used(self):
        root = Path(__file__).resolve().parent.parent
        for command in ("peers/compare", "end_to_end", "postgres", "planted/check", "../scripts/bench-regression"):
            ran = subprocess.run([root / command, "--help"], capture_output=True, text=True, timeout=60)
            self.assertEqual(ran.returncode, 0, ran.stderr)


if __name__ == "__main__":
    unittest.main()
