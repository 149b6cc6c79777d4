"""Names under which a plan says, of a given split, how many nonmembers overlap a member."""

OVERLAPPING = "nonmembers_that_overlap_members"
COMPARED = "nonmembers_compared_for_overlap"
